use tokio::net::{TcpListener, TcpSocket};

use super::*;

/// A listener that answers no more connections: its queue is full, and Linux drops what comes then.
async fn silent() -> (TcpListener, Vec<tokio::task::JoinHandle<io::Result<TcpStream>>>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(tokio::spawn(TcpStream::connect(address)));
    }
    // Two are taken into the queue; the others stay without an answer.
    for task in held.iter_mut().take(2) {
        let _ = tokio::time::timeout(Duration::from_secs(5), task).await;
    }
    held.drain(..2).for_each(drop);
    (listener, held)
}

/// An address that nobody listens at, and that nobody else gets as long as the socket is held.
fn closed() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

async fn with_places(
    addresses: Vec<SocketAddr>,
    count: usize,
) -> io::Result<(TcpStream, SocketAddr, Place)> {
    let places = Arc::new(Semaphore::new(count));
    let place = Arc::clone(&places).acquire_owned().await.unwrap();
    first_of(addresses, place, &places).await
}

#[tokio::test]
async fn the_one_place_goes_on_to_the_next_address() {
    let (_held, nobody) = closed();
    let live = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = vec![nobody, nobody, live.local_addr().unwrap()];
    let (_, address, _) = with_places(addresses, 1).await.unwrap();
    assert_eq!(address, live.local_addr().unwrap());
}

#[tokio::test]
async fn an_address_that_is_silent_does_not_use_up_the_limit() {
    let (silent, held) = silent().await;
    let live = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = vec![silent.local_addr().unwrap(), live.local_addr().unwrap()];
    let (_, address, _) = tokio::time::timeout(Duration::from_secs(30), with_places(addresses, 2))
        .await
        .expect("the second address is tried beside the first")
        .unwrap();
    assert_eq!(address, live.local_addr().unwrap());
    held.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn the_last_failure_is_told_when_all_fail() {
    let (_held, address) = closed();
    let error = with_places(vec![address, address], 1).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(
        with_places(Vec::new(), 1).await.unwrap_err().to_string(),
        "the name has no address"
    );
}

#[test]
fn families_take_turns() {
    let parse =
        |list: &[&str]| list.iter().map(|a| a.parse().unwrap()).collect::<Vec<SocketAddr>>();
    let given = parse(&["[::1]:1", "[::2]:1", "127.0.0.1:1", "127.0.0.2:1", "127.0.0.3:1"]);
    let mixed = parse(&["[::1]:1", "127.0.0.1:1", "[::2]:1", "127.0.0.2:1", "127.0.0.3:1"]);
    assert_eq!(interleaved(given), mixed);
}
