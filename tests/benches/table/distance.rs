//! Distance: a relay behind which a server seems to be one round trip of 20 ms away.
//!
//! Each direction is half a round trip late. The kernel has accepted before the relay knows, so the
//! round trip that connecting would have taken is laid on the first bytes instead: whoever waits for
//! the connection before it writes, and everyone does, is served as late as over a real distance.
//! Timers add up to a millisecond each way, the same for all who come this way.

use std::io::Result;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc::channel;
use tokio::time::{Instant, sleep_until};

/// There and back.
pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(20);

/// Pieces that may be under way in one direction.
const WINDOW: usize = 64;

/// Passes everything between `client` and the server at `near`, late.
pub(crate) async fn relay(client: TcpStream, near: SocketAddr) -> Result<()> {
    let connected = Instant::now() + ROUND_TRIP;
    let server = TcpStream::connect(near).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::try_join!(
        late(from_client, to_server, connected),
        late(from_server, to_client, connected)
    )?;
    Ok(())
}

/// Passes on what comes from `from`, none of it as if it had been written before `connected`.
async fn late(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    connected: Instant,
) -> Result<()> {
    let (sender, mut receiver) = channel(WINDOW);
    let reading = async move {
        loop {
            let mut bytes = Vec::with_capacity(16 * 1024);
            let read = from.read_buf(&mut bytes).await?;
            let due = Instant::now().max(connected) + ROUND_TRIP / 2;
            // Nobody listens where writing has failed, which is told there.
            if sender.send((due, bytes)).await.is_err() || read == 0 {
                return Result::Ok(());
            }
        }
    };
    let writing = async move {
        while let Some((due, bytes)) = receiver.recv().await {
            sleep_until(due).await;
            if bytes.is_empty() {
                return to.shutdown().await;
            }
            to.write_all(&bytes).await?;
        }
        Result::Ok(())
    };
    tokio::try_join!(reading, writing)?;
    Ok(())
}
