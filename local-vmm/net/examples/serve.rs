//! A gateway on a unix socket, for whoever speaks frames with lengths before them, and what it tells its owner on the standard output:
//!
//!     cargo run --release -p vmm-net --example serve -- <socket> ['{"policy":{"rules":[…]}}']
//!     qemu-system-x86_64 … -netdev stream,id=net,addr.type=unix,addr.path=<socket> -device virtio-net,netdev=net,mac=02:00:00:00:00:15
//!
//! The second argument is its settings. Requests can be typed, one a line.

use tokio::io::{AsyncWriteExt, copy, stdin, stdout};
use tokio::net::{UnixListener, UnixStream};
use vmm_net::Settings;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let socket = arguments.next().ok_or("the first argument is the path of a socket")?;
    let settings: Settings =
        arguments.next().map_or(Ok(Settings::default()), |text| serde_json::from_str(&text))?;
    let listener = UnixListener::bind(&socket)?;
    let (frames, _) = listener.accept().await?;
    std::fs::remove_file(&socket)?;
    let (owner, control) = UnixStream::pair()?;
    let (mut told, mut says) = owner.into_split();
    let speak = async {
        // The end of what is typed is not the end of the gateway.
        copy(&mut stdin(), &mut says).await?;
        std::future::pending::<std::io::Result<()>>().await
    };
    let hear = async {
        let mut out = stdout();
        copy(&mut told, &mut out).await?;
        out.flush().await
    };
    tokio::select! {
        result = vmm_net::run(frames, control, settings) => result?,
        result = speak => result?,
        result = hear => result?,
    }
    Ok(())
}
