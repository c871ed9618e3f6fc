use tokio::io::{AsyncReadExt as _, duplex};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::wire::socket::Socket;
use crate::wire::stream::Stream;

fn facts() -> Facts {
    Facts { address: "192.0.2.1:443".to_owned(), tls: None }
}

/// A connection that takes `streams` at once; the other end keeps silent.
async fn shared(streams: usize) -> (Shared, tokio::task::JoinHandle<()>) {
    let (near, far) = duplex(1 << 16);
    let mut builder = h2::client::Builder::new();
    let handshake = builder.initial_max_send_streams(streams).handshake::<_, Bytes>(near);
    let (sender, connection) = handshake.await.unwrap();
    let driver = tokio::spawn(async move {
        let _far = far;
        let _ = connection.await;
    });
    (Shared::new(sender, facts()), driver)
}

#[tokio::test]
async fn a_full_connection_is_not_queued_behind_until_no_more_may_be_made() {
    let pool = Arc::new(Pool::new(Duration::from_secs(4)));
    let mut leases = Vec::new();
    for made in 0..SHARED {
        let (shared, _) = shared(2).await;
        leases.push(pool.share("up", shared));
        leases.push(pool.lease("up").expect("a second stream has its place"));
        assert_eq!(pool.lease("up").is_some(), made + 1 == SHARED, "{made}");
    }
    let given_back = leases.remove(5);
    let which = given_back.connection();
    drop(given_back);
    let again = pool.lease("up").expect("a place that was given back");
    assert_eq!(again.connection().0.as_ptr(), which.0.as_ptr());
    pool.unshare("up", &which);
    assert!(pool.lease("up").is_none(), "one more may be made");
}

/// More would use up the connection's window together, and hold up whoever reads.
#[tokio::test]
async fn a_connection_has_no_more_places_than_its_window_serves() {
    let pool = Arc::new(Pool::new(Duration::from_secs(4)));
    let (shared, _) = shared(1_000).await;
    let mut leases = vec![pool.share("up", shared)];
    leases.extend(std::iter::from_fn(|| pool.lease("up")));
    assert_eq!(leases.len(), 128);
}

async fn idle(listener: &TcpListener) -> (Idle, TcpStream) {
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    let (reader, writer) = Stream::Plain(Socket::new(stream)).split();
    (Idle { reader, writer, facts: facts(), used: true }, far)
}

#[tokio::test]
async fn what_is_not_used_is_closed_and_forgotten_by_itself() {
    let pool = Arc::new(Pool::new(Duration::from_millis(20)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (first, mut far) = idle(&listener).await;
    pool.put("azure/one", first, &Chunk::empty());
    assert_eq!(far.read(&mut [0; 1]).await.unwrap(), 0, "closed, with nobody asking for it");
    while pool.lock().swept {
        tokio::task::yield_now().await;
    }
    let slots = pool.lock();
    assert_eq!((slots.by_upstream.len(), slots.idle), (0, 0));
}

#[tokio::test]
async fn the_oldest_of_all_upstreams_goes_first() {
    let pool = Arc::new(Pool::new(Duration::from_secs(600)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut far = Vec::new();
    for name in ["azure/one", "azure/two", "azure/two"] {
        let (idle, other) = idle(&listener).await;
        pool.put(name, idle, &Chunk::empty());
        far.push(other);
    }
    drop(pool.lock().evict());
    assert!(pool.take("azure/one").await.is_none());
    assert_eq!(pool.lock().idle, 2);
    assert!(pool.take("azure/two").await.is_some());
    assert_eq!(pool.lock().idle, 1);
}
