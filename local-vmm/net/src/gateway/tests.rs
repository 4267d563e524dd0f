//! Whole turns of a gateway with a guest that sends anything.

use super::*;
use proptest::prelude::*;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream as Std;

/// A gateway, and the other ends of its two streams.
fn gateway(settings: &Settings) -> (Gateway, Std, Std) {
    let pair = || {
        let (ours, theirs) = Std::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        (ours, UnixStream::from_std(theirs).unwrap())
    };
    let ((card, frames), (owner, control)) = (pair(), pair());
    (Gateway::new(frames, control, settings).unwrap(), card, owner)
}

/// Frames that get as far as possible: right addresses and checksums of the header, anything behind.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let bytes = |most| proptest::collection::vec(any::<u8>(), 0..most);
    let server = prop_oneof![Just([10, 0, 2, 2]), Just([203, 0, 113, 7]), Just([192, 168, 0, 1])];
    let packet =
        (prop_oneof![Just(6u8), Just(17), Just(1)], server, bytes(200)).prop_map(|(protocol, to, inner)| {
            let plan = Plan::default();
            let mut frame = [&plan.gateway_mac[..], &plan.guest_mac, &[8, 0]].concat();
            let length = (20 + inner.len() as u16).to_be_bytes();
            let start = frame.len();
            frame.extend([0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, protocol, 0, 0]);
            frame.extend(plan.guest.octets());
            frame.extend(to);
            smoltcp::wire::Ipv4Packet::new_unchecked(&mut frame[start..]).fill_checksum();
            frame.extend(inner);
            frame
        });
    prop_oneof![4 => packet, 1 => bytes(1600)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_the_guest_sends(frames in proptest::collection::vec(any_frame(), 0..64)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            // Nothing of this leaves the host: all is closed or nowhere.
            let policy = serde_json::from_str(r#"{"rules":[{"domain":"*","action":"deny"}]}"#).unwrap();
            let (mut gateway, mut card, _owner) = gateway(&Settings { policy, ..Settings::default() });
            let mut answers = vec![0; 1 << 20];
            for frame in &frames {
                let whole = [&(frame.len() as u32).to_be_bytes()[..], frame].concat();
                // What the socket does not take is lost, and with it the beat; there are no more frames then.
                if card.write(&whole).is_ok_and(|written| written < whole.len()) {
                    break;
                }
                gateway.cable.ready(&gateway.around.out).await.unwrap();
                gateway.turn().unwrap();
                let _ = card.read(&mut answers);
            }
            assert!(gateway.tcp.len() <= frames.len() && gateway.udp.len() == 0);
        });
    }
}

#[tokio::test]
async fn both_streams_end_it() {
    let (mut one, card, owner) = gateway(&Settings::default());
    drop(card);
    one.cable.ready(&one.around.out).await.unwrap();
    assert_eq!(one.turn().unwrap(), Turn::End);
    let (mut other, _card, _owner) = gateway(&Settings::default());
    drop((one, owner));
    other.around.clock.turn();
    assert_eq!(other.turn().unwrap(), Turn::Waits);
}

#[tokio::test]
async fn a_line_without_end_ends_it() {
    let (mut gateway, _card, mut owner) = gateway(&Settings::default());
    let part = vec![b'x'; 64 << 10];
    let mut sent = 0;
    let error = loop {
        sent += owner.write(&part).unwrap_or(0);
        tokio::task::yield_now().await;
        match gateway.turn() {
            Ok(turn) => assert_ne!(turn, Turn::End),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::LongLine(_)) && sent < 6 << 20, "{error} after {sent} bytes");
}

#[test]
fn what_cannot_be_started() {
    let settings =
        Settings { limits: crate::Limits { flows: 0, ..Default::default() }, ..Default::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (frames, _card) = UnixStream::pair().unwrap();
        let (control, _owner) = UnixStream::pair().unwrap();
        assert!(matches!(Gateway::new(frames, control, &settings), Err(Error::Settings(_))));
    });
}
