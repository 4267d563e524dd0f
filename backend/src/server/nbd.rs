//! Disks of checkpoints, served to the sprite they belong to: the transmission phase of the NBD protocol (the NBD project's `doc/proto.md`), reading only.
//!
//! What is asked is a guest's: it is held against the disk's size, and one request is answered after the other.

use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use vmm_disk::CheckpointReader;

const REQUEST: u32 = 0x2560_9513;
const REPLY: u32 = 0x6744_6698;
const READ: u16 = 0;
const DISCONNECT: u16 = 2;
const FLUSH: u16 = 3;
/// Errors are those of Linux.
const EPERM: u32 = 1;
const EIO: u32 = 5;
const EINVAL: u32 = 22;
/// Largest read. Linux asks for a quarter of it.
const MOST: u32 = 1 << 20;
/// How long a guest may take to take an answer.
const STALL: Duration = Duration::from_secs(60);

/// Serves a disk until the guest has enough of it.
pub(super) async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    disk: Arc<CheckpointReader>,
) -> io::Result<()> {
    let mut told = false;
    loop {
        let Some(request) = Request::read(&mut stream).await? else { return Ok(()) };
        let (error, data) = match request.kind {
            READ if request.length <= MOST => read(&disk, request.offset, request.length, &mut told).await,
            READ => (EINVAL, Vec::new()),
            FLUSH => (0, Vec::new()),
            DISCONNECT => return Ok(()),
            _ => (EPERM, Vec::new()),
        };
        let mut answer = Vec::with_capacity(16 + data.len());
        answer.extend_from_slice(&REPLY.to_be_bytes());
        answer.extend_from_slice(&error.to_be_bytes());
        answer.extend_from_slice(&request.handle);
        answer.extend_from_slice(&data);
        timeout(STALL, async {
            stream.write_all(&answer).await?;
            stream.flush().await
        })
        .await??;
    }
}

async fn read(disk: &Arc<CheckpointReader>, offset: u64, length: u32, told: &mut bool) -> (u32, Vec<u8>) {
    if offset.checked_add(length.into()).is_none_or(|end| end > disk.size()) {
        return (EINVAL, Vec::new());
    }
    let disk = Arc::clone(disk);
    let read = tokio::task::spawn_blocking(move || {
        let mut data = vec![0; length as usize];
        disk.read_at(&mut data, offset).map(|()| data)
    });
    match read.await {
        Ok(Ok(data)) => (0, data),
        Ok(Err(error)) => {
            // A guest may ask for it again and again.
            if !std::mem::replace(told, true) {
                tracing::warn!("a checkpoint cannot be read: {error}");
            }
            (EIO, Vec::new())
        }
        Err(_) => (EIO, Vec::new()),
    }
}

/// What a guest asks.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    kind: u16,
    handle: [u8; 8],
    offset: u64,
    length: u32,
}

impl Request {
    /// The next one; none at the end. Layout: magic (u32), flags and kind (u16 each), handle (8 bytes), offset (u64), length (u32), all in network
    /// order. Nothing follows a read.
    async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Self>> {
        let mut head = [0; 28];
        match stream.read_exact(&mut head).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        };
        let mut rest = &head[..];
        let (magic, _flags) = (rest.read_u32().await?, rest.read_u16().await?);
        let kind = rest.read_u16().await?;
        let mut handle = [0; 8];
        rest.read_exact(&mut handle).await?;
        let (offset, length) = (rest.read_u64().await?, rest.read_u32().await?);
        // After anything else there is no telling where the next begins, and what is written brings its bytes along.
        if magic != REQUEST || kind == 1 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Some(Self { kind, handle, offset, length }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmm_disk::{NewCheckpoint, Store, Volume};

    fn request(kind: u16, handle: u64, offset: u64, length: u32) -> Vec<u8> {
        let mut bytes = REQUEST.to_be_bytes().to_vec();
        bytes.extend_from_slice(&0u16.to_be_bytes());
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&handle.to_be_bytes());
        bytes.extend_from_slice(&offset.to_be_bytes());
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes
    }

    #[tokio::test]
    async fn what_is_asked_is_answered_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("base");
        std::fs::write(&base, vec![7; 8192]).unwrap();
        let volume = dir.path().join("sprite/volume");
        std::fs::create_dir_all(volume.parent().unwrap()).unwrap();
        Store::open(dir.path()).unwrap().create(&volume, &base, 1 << 20).unwrap();
        let open = Volume::open(&volume).unwrap();
        open.write_at(&[9; 4096], 4096).unwrap();
        open.checkpoint(NewCheckpoint::default()).unwrap();
        let disk = Arc::new(CheckpointReader::open(&volume, "v0").unwrap());

        let (mut guest, host) = tokio::io::duplex(4 << 20);
        let serving = tokio::spawn(serve(host, disk));
        for (handle, (kind, offset, length, error)) in [
            (READ, 4000, 200, 0),
            (READ, (1 << 20) - 10, 10, 0),
            (READ, (1 << 20) - 10, 11, EINVAL),
            (READ, u64::MAX, 1, EINVAL),
            (READ, 0, MOST + 1, EINVAL),
            (FLUSH, 0, 0, 0),
            (4, 0, 4096, EPERM),
            (77, 0, 0, EPERM),
        ]
        .into_iter()
        .enumerate()
        {
            guest.write_all(&request(kind, handle as u64, offset, length)).await.unwrap();
            assert_eq!(guest.read_u32().await.unwrap(), REPLY);
            assert_eq!(guest.read_u32().await.unwrap(), error);
            assert_eq!(guest.read_u64().await.unwrap(), handle as u64);
            if kind == READ && error == 0 {
                let mut data = vec![0; length as usize];
                guest.read_exact(&mut data).await.unwrap();
                if offset == 4000 {
                    assert!(data[..96] == [7; 96] && data[96..] == [9; 104]);
                }
            }
        }
        guest.write_all(&request(1, 0, 0, 4096)).await.unwrap();
        assert!(serving.await.unwrap().is_err(), "nothing can be written");
    }
}
