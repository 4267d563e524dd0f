//! Two connections made one.

use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, split};
use tokio::pin;
use tokio::time::timeout;

/// How long one direction may go on after the other has ended. What is inside a sprite must not hold it awake for a client that is gone.
const AFTER_END: Duration = Duration::from_secs(30);

/// Copies in both directions until both have ended. Either side may go away at any moment; that is how sessions end.
pub(super) async fn join(one: impl AsyncRead + AsyncWrite, other: impl AsyncRead + AsyncWrite) {
    let ((mut from_one, mut to_one), (mut from_other, mut to_other)) = (split(one), split(other));
    let forth = async {
        let _ = copy(&mut from_one, &mut to_other).await;
        let _ = to_other.shutdown().await;
    };
    let back = async {
        let _ = copy(&mut from_other, &mut to_one).await;
        let _ = to_one.shutdown().await;
    };
    pin!(forth, back);
    tokio::select! {
        () = &mut forth => drop(timeout(AFTER_END, back).await),
        () = &mut back => drop(timeout(AFTER_END, forth).await),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, duplex};
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn one_that_never_ends_is_ended() {
        let (mut client, outside) = duplex(64);
        let (mut app, inside) = duplex(64);
        let joined = tokio::spawn(join(outside, inside));
        client.write_all(b"hello").await.unwrap();
        let mut heard = [0; 5];
        app.read_exact(&mut heard).await.unwrap();
        app.write_all(&heard).await.unwrap();
        client.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
        let left = Instant::now();
        drop(client);
        assert_eq!(app.read(&mut heard).await.unwrap(), 0);
        joined.await.unwrap();
        assert!(left.elapsed() >= AFTER_END);
    }
}
