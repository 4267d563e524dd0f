//! The header of a packet (`struct virtio_vsock_hdr`, VIRTIO 1.2, section 5.10.6).

/// Bytes of a header.
pub const HEADER: usize = 44;
/// Context id of the host.
pub const HOST_CID: u64 = 2;
/// The only type spoken: a stream of bytes.
pub const TYPE_STREAM: u16 = 1;

/// What a packet is about.
pub mod op {
    /// Asks for a connection.
    pub const REQUEST: u16 = 1;
    /// Accepts one.
    pub const RESPONSE: u16 = 2;
    /// Refuses or ends one.
    pub const RST: u16 = 3;
    /// One or both directions end.
    pub const SHUTDOWN: u16 = 4;
    /// Carries data.
    pub const RW: u16 = 5;
    /// Tells how much room there is.
    pub const CREDIT_UPDATE: u16 = 6;
    /// Asks how much room there is.
    pub const CREDIT_REQUEST: u16 = 7;
}

/// The sender of a SHUTDOWN will not receive any more.
pub const SHUTDOWN_RECEIVE: u32 = 1;
/// The sender of a SHUTDOWN will not send any more.
pub const SHUTDOWN_SEND: u32 = 2;

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of the standard")]
pub struct Header {
    pub src_cid: u64,
    pub dst_cid: u64,
    pub src_port: u32,
    pub dst_port: u32,
    pub len: u32,
    pub kind: u16,
    pub op: u16,
    pub flags: u32,
    pub buf_alloc: u32,
    pub fwd_cnt: u32,
}

impl Header {
    /// Reads a header; all values are little-endian.
    pub fn read(bytes: &[u8; HEADER]) -> Self {
        let number = |at: usize, len: usize| {
            bytes[at..at + len].iter().rev().fold(0u64, |value, byte| (value << 8) | u64::from(*byte))
        };
        Self {
            src_cid: number(0, 8),
            dst_cid: number(8, 8),
            src_port: number(16, 4) as u32,
            dst_port: number(20, 4) as u32,
            len: number(24, 4) as u32,
            kind: number(28, 2) as u16,
            op: number(30, 2) as u16,
            flags: number(32, 4) as u32,
            buf_alloc: number(36, 4) as u32,
            fwd_cnt: number(40, 4) as u32,
        }
    }

    /// The header's bytes.
    pub fn bytes(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.src_cid.to_le_bytes());
        put(8, &self.dst_cid.to_le_bytes());
        put(16, &self.src_port.to_le_bytes());
        put(20, &self.dst_port.to_le_bytes());
        put(24, &self.len.to_le_bytes());
        put(28, &self.kind.to_le_bytes());
        put(30, &self.op.to_le_bytes());
        put(32, &self.flags.to_le_bytes());
        put(36, &self.buf_alloc.to_le_bytes());
        put(40, &self.fwd_cnt.to_le_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reads_what_it_writes(bytes in prop::array::uniform32(any::<u8>()), rest in prop::array::uniform12(any::<u8>())) {
            let mut whole = [0; HEADER];
            whole[..32].copy_from_slice(&bytes);
            whole[32..].copy_from_slice(&rest);
            prop_assert_eq!(Header::read(&whole).bytes(), whole);
        }
    }
}
