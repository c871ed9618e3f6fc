//! The upstream: it answers chats with bodies nobody has seen before, and streams events.
//!
//! What it does stands in the target, so that one process serves every row:
//! `/v1/chat/SIZE` answers with SIZE bytes, `/v1/events/COUNT/MICROSECONDS` with a stream of COUNT
//! events at that distance. It checks every request's body against the checksum sent with it, and
//! answers 400 where they differ, which the load generator reports.
//!
//! It listens three times: for plain connections, for TLS, and for TLS at many addresses of its own
//! that seem to be far away (`distance`).

use std::io::{Result, Write as _};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_rustls::TlsAcceptor;

use crate::clock::now_ns;
use crate::distance::relay;
use crate::http::{CHECK, Connection, wrong};
use crate::text::{Random, answer, checksum, push_text};
use crate::tls;

/// Bytes of text in one event.
const EVENT_TEXT: usize = 96;

/// An address of the distant upstream; all have one port.
pub(crate) fn distant(number: u64) -> Ipv4Addr {
    let last = u8::try_from(number).expect("there are no more hosts than that");
    Ipv4Addr::new(127, 1, 0, last)
}

/// Listens on free ports, says which, and serves until the standard input ends.
pub(crate) async fn serve(identity: &Path) -> Result<()> {
    let acceptor = TlsAcceptor::from(tls::server(identity)?);
    let plain = TcpListener::bind("127.0.0.1:0").await?;
    let secure = TcpListener::bind("127.0.0.1:0").await?;
    let near = secure.local_addr()?;
    let mut far = vec![TcpListener::bind((distant(0), 0)).await?];
    let port = far[0].local_addr()?.port();
    for number in 1..tls::HOSTS {
        far.push(TcpListener::bind((distant(number), port)).await?);
    }
    println!("{} localhost:{} {port}", plain.local_addr()?, near.port());
    for listener in far {
        tokio::spawn(accept(listener, move |stream, _| relay(stream, near)));
    }
    tokio::select! {
        failed = accept(plain, |stream, seed| async move {
            connection(Connection::new(stream)?, seed).await
        }) => failed,
        failed = accept(secure, |stream, seed| {
            let acceptor = acceptor.clone();
            async move {
                stream.set_nodelay(true)?;
                connection(Connection::over(acceptor.accept(stream).await?), seed).await
            }
        }) => failed,
        () = crate::parent_gone() => Ok(()),
    }
}

/// Gives each connection, with a number, to `serve`.
async fn accept<Served>(
    listener: TcpListener,
    serve: impl Fn(TcpStream, u64) -> Served,
) -> Result<()>
where
    Served: Future<Output = Result<()>> + Send + 'static,
{
    for seed in 0.. {
        let (stream, _) = listener.accept().await?;
        // A client that goes away in the middle is the load generator's to report.
        tokio::spawn(serve(stream, seed));
    }
    Ok(())
}

async fn connection(mut connection: Connection, seed: u64) -> Result<()> {
    let mut random = Random::new(seed);
    let (mut body, mut content, mut out) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(head) = connection.head().await? {
        connection.body(head.framing, &mut body).await?;
        if head.check.is_some_and(|check| check != checksum(&body)) {
            let said = b"HTTP/1.1 400 Body Differs\r\ncontent-length: 0\r\n\r\n";
            return connection.write(said).await;
        }
        let mut parts = head.target().trim_start_matches("/v1/").split('/');
        let (what, mut numbers) = (parts.next(), parts.map_while(|part| part.parse::<u64>().ok()));
        match what {
            Some("chat") => {
                let size = numbers.next().unwrap_or_default() as usize;
                if size > 0 {
                    answer(&mut content, size, &mut random);
                } else {
                    content.clear();
                }
                let check = checksum(&content);
                out.clear();
                write!(
                    out,
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
                     server: upstream\r\nx-request-id: req_{check:016x}\r\n{CHECK}: {check:x}\r\n\r\n",
                    content.len(),
                )?;
                out.extend_from_slice(&content);
                connection.write(&out).await?;
            }
            Some("events") => {
                let count = numbers.next().unwrap_or_default();
                let distance = Duration::from_micros(numbers.next().unwrap_or_default());
                events(&mut connection, count, distance, &mut random).await?;
            }
            _ => return Err(wrong("an unknown target")),
        }
    }
    Ok(())
}

/// Streams `count` events, each written by itself in a chunk of its own. Each says when it was
/// written; the last carries the checksum of all before it.
async fn events(
    connection: &mut Connection,
    count: u64,
    distance: Duration,
    random: &mut Random,
) -> Result<()> {
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n\
        transfer-encoding: chunked\r\n\r\n";
    connection.write(head).await?;
    // Streams that began together do not tick together.
    let phase = distance.mul_f64((random.next() % 1024) as f64 / 1024.0);
    let mut ticks = interval_at(Instant::now() + phase, distance.max(Duration::from_micros(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut event, mut out) = (Vec::new(), Vec::new());
    let mut sum = 0;
    for number in 1..=count {
        ticks.tick().await;
        event.clear();
        let last = number == count;
        let check = if last { sum } else { 0 };
        write!(event, "data: {{\"at\":\"{:020}\",\"sum\":\"{check:016x}\",\"delta\":\"", now_ns())?;
        push_text(&mut event, EVENT_TEXT, random);
        event.extend_from_slice(b"\"}\n\n");
        sum ^= checksum(&event).rotate_left((number % 64) as u32);
        out.clear();
        write!(out, "{:x}\r\n", event.len())?;
        out.extend_from_slice(&event);
        out.extend_from_slice(if last { b"\r\n0\r\n\r\n" } else { b"\r\n" });
        connection.write(&out).await?;
    }
    Ok(())
}
