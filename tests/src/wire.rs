//! Wire: one end of a connection, plain or TLS, as bytes.
//!
//! Both the test's client and its upstream are wires. A wire logs all it received and sent, reads
//! HTTP/1 messages strictly, and can end in every way a peer can: half-closed, closed, reset,
//! or with TLS cut off.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};

use crate::content::{Content, Pattern};
use crate::gate::PATIENCE;
use crate::http1::{self, End, Framing, Head, Message};
use crate::wire::body::BodyReader;

pub mod body;

enum Transport {
    Plain(TcpStream),
    Client(Box<StreamOwned<ClientConnection, TcpStream>>),
    Server(Box<StreamOwned<ServerConnection, TcpStream>>),
}

/// One end of a connection.
pub struct Wire {
    transport: Transport,
    unread: Vec<u8>,
    /// Every byte received.
    pub received: Content,
    /// Every byte sent.
    pub sent: Content,
}

/// What one read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read1 {
    /// Some bytes.
    Bytes,
    /// The end, and how.
    End(End),
}

impl Wire {
    /// Connects without TLS.
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the other side accepts connections");
        Self::plain(stream)
    }

    /// Connects with TLS to the name `localhost`.
    pub fn connect_tls(address: SocketAddr, config: Arc<ClientConfig>) -> Self {
        let stream = prepare(TcpStream::connect(address).expect("the other side accepts"));
        let name = "localhost".try_into().expect("localhost is a name");
        let connection = ClientConnection::new(config, name).expect("the configuration is sound");
        Self::over(Transport::Client(Box::new(StreamOwned::new(connection, stream))))
    }

    /// Asks the proxy at `proxy` for a tunnel to `authority`, with these fields beside `Host`; gives
    /// the connection and the answer's head.
    pub fn connect_by(proxy: SocketAddr, authority: &str, fields: &[(&str, &str)]) -> (Self, Head) {
        let mut wire = Self::connect(proxy);
        let mut all = vec![("Host", authority)];
        all.extend_from_slice(fields);
        wire.send(http1::head(format!("CONNECT {authority} HTTP/1.1"), &all));
        let head = wire.head();
        (wire, head)
    }

    /// A tunnel to `authority` through the proxy at `proxy`, as if it were the connection itself.
    ///
    /// # Panics
    /// If the proxy does not open one.
    pub fn tunnel(proxy: SocketAddr, authority: &str) -> Self {
        let (mut wire, head) = Self::connect_by(proxy, authority, &[]);
        assert_eq!(head.status(), 200, "{}", head.line.escape_ascii());
        (wire.received, wire.sent) = (Content::default(), Content::default());
        wire
    }

    /// Starts TLS to `name` over a connection on which nothing is unread.
    ///
    /// # Panics
    /// If there is TLS already.
    pub fn into_tls(self, name: &str, config: Arc<ClientConfig>) -> Self {
        let Transport::Plain(stream) = self.transport else { panic!("TLS in TLS") };
        assert!(self.unread.is_empty(), "something came before TLS");
        let name = name.to_owned().try_into().expect("a name");
        let connection = ClientConnection::new(config, name).expect("the configuration is sound");
        Self::over(Transport::Client(Box::new(StreamOwned::new(connection, stream))))
    }

    /// Takes the handshake to its end, or says why it has none.
    ///
    /// # Errors
    /// What ended it.
    ///
    /// # Panics
    /// If there is no TLS with this side as its client.
    pub fn handshake(&mut self) -> std::io::Result<()> {
        let Transport::Client(stream) = &mut self.transport else { panic!("no TLS here") };
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(())
    }

    /// What was agreed on by ALPN.
    pub fn protocol(&self) -> Option<Vec<u8>> {
        match &self.transport {
            Transport::Client(stream) => stream.conn.alpn_protocol().map(<[u8]>::to_vec),
            Transport::Server(stream) => stream.conn.alpn_protocol().map(<[u8]>::to_vec),
            Transport::Plain(_) => None,
        }
    }

    /// An accepted connection without TLS.
    pub fn plain(stream: TcpStream) -> Self {
        Self::over(Transport::Plain(prepare(stream)))
    }

    /// An accepted connection with TLS.
    pub fn server_tls(stream: TcpStream, config: Arc<ServerConfig>) -> Self {
        let connection = ServerConnection::new(config).expect("the configuration is sound");
        let stream = StreamOwned::new(connection, prepare(stream));
        Self::over(Transport::Server(Box::new(stream)))
    }

    fn over(transport: Transport) -> Self {
        Self {
            transport,
            unread: Vec::new(),
            received: Content::default(),
            sent: Content::default(),
        }
    }

    /// The connection's socket.
    pub fn socket(&self) -> &TcpStream {
        match &self.transport {
            Transport::Plain(stream) => stream,
            Transport::Client(stream) => &stream.sock,
            Transport::Server(stream) => &stream.sock,
        }
    }

    /// A second handle to write with while this one reads. Only without TLS; what goes through
    /// it is not in `sent`.
    pub fn writer(&self) -> TcpStream {
        match &self.transport {
            Transport::Plain(stream) => stream.try_clone().expect("a socket can be shared"),
            _ => panic!("a TLS connection cannot be split"),
        }
    }

    /// Sends these bytes.
    ///
    /// # Panics
    /// If the peer no longer takes them.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the peer takes bytes");
    }

    /// Sends these bytes, or says why the peer does not take them.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        let bytes = bytes.as_ref();
        self.sent.push(bytes);
        match &mut self.transport {
            Transport::Plain(stream) => stream.write_all(bytes),
            Transport::Client(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Transport::Server(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    /// Sends one chunk of a chunked body.
    pub fn send_chunk(&mut self, data: impl AsRef<[u8]>) {
        self.send(http1::chunk(data.as_ref()));
    }

    /// Sends a pattern as plain bytes.
    pub fn send_pattern(&mut self, seed: u64, length: u64) {
        for piece in Pattern::new(seed, length) {
            self.send(piece);
        }
    }

    /// Says that nothing more will be sent; with TLS, by close_notify and FIN.
    pub fn half_close(&mut self) {
        self.notify();
        self.socket().shutdown(Shutdown::Write).expect("the write side can be closed");
    }

    /// Closes in good order.
    pub fn close(mut self) {
        self.notify();
    }

    /// Closes without close_notify: for TLS a truncation, without TLS an ordinary FIN.
    pub fn truncate(self) {}

    /// Resets the connection: the peer gets RST, unread bytes are lost.
    pub fn reset(self) {
        rustix::net::sockopt::set_socket_linger(self.socket(), Some(Duration::ZERO))
            .expect("a socket can linger");
    }

    fn notify(&mut self) {
        match &mut self.transport {
            Transport::Plain(_) => {}
            Transport::Client(stream) => {
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
            Transport::Server(stream) => {
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    }

    /// Reads once and adds what came to what is unread.
    ///
    /// # Panics
    /// If nothing comes for [`PATIENCE`].
    pub fn fill(&mut self) -> Read1 {
        let mut buffer = [0; 16_384];
        let read = match &mut self.transport {
            Transport::Plain(stream) => stream.read(&mut buffer),
            Transport::Client(stream) => stream.read(&mut buffer),
            Transport::Server(stream) => stream.read(&mut buffer),
        };
        match read {
            Ok(0) => Read1::End(End::Cut),
            Ok(size) => {
                self.received.push(&buffer[..size]);
                self.unread.extend_from_slice(&buffer[..size]);
                Read1::Bytes
            }
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => Read1::Bytes,
                // Also an alert, or bytes that are no TLS at all.
                ErrorKind::UnexpectedEof | ErrorKind::InvalidData => Read1::End(End::Truncated),
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Read1::End(End::Reset),
                ErrorKind::WouldBlock | ErrorKind::TimedOut => panic!(
                    "nothing came for {PATIENCE:?}; unread so far: \"{}\"",
                    self.unread.escape_ascii()
                ),
                _ => panic!("a connection cannot be read: {error}"),
            },
        }
    }

    /// Reads exactly so many bytes.
    pub fn read_exact(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            let read = self.fill();
            let unread = self.unread.escape_ascii();
            assert_eq!(read, Read1::Bytes, "the peer ended within {count} bytes: \"{unread}\"");
        }
        self.unread.drain(..count).collect()
    }

    /// Reads all there is until the peer ends, and how it ended. An orderly end is
    /// [`End::Complete`] here.
    pub fn read_to_end(&mut self) -> (Content, End) {
        let body = self.body(Framing::UntilClose).finish();
        (body.content, body.end)
    }

    /// Reads one head, or says how the peer ended before it was whole.
    pub fn try_head(&mut self) -> Result<Head, End> {
        let mut from = 0;
        loop {
            let tail = &self.unread[from..];
            if let Some(at) = tail.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let raw: Vec<u8> = self.unread.drain(..from + at + 4).collect();
                return Ok(Head::parse(&raw));
            }
            from = self.unread.len().saturating_sub(3);
            match self.fill() {
                Read1::Bytes => {}
                Read1::End(end) => return Err(end),
            }
        }
    }

    /// Reads one head.
    pub fn head(&mut self) -> Head {
        let head = self.try_head();
        head.unwrap_or_else(|end| {
            panic!("{end:?} in a head, after \"{}\"", self.unread.escape_ascii())
        })
    }

    /// Reads a body.
    pub fn body(&mut self, framing: Framing) -> BodyReader<'_> {
        BodyReader::new(self, framing)
    }

    /// Reads a whole request.
    pub fn request(&mut self) -> Message {
        let head = self.head();
        let body = self.body(head.request_framing()).finish();
        Message { interim: Vec::new(), head, body }
    }

    /// Reads a whole response to a request with this method, interim answers first.
    pub fn response(&mut self, method: &str) -> Message {
        let (interim, head) = self.response_head();
        let body = self.body(head.response_framing(method)).finish();
        Message { interim, head, body }
    }

    /// Reads response heads up to the first final one; 101 is final.
    pub fn response_head(&mut self) -> (Vec<Head>, Head) {
        let mut interim = Vec::new();
        loop {
            let head = self.head();
            match head.status() {
                101 | 200.. => return (interim, head),
                _ => interim.push(head),
            }
        }
    }

    /// Wants that the peer has nothing more to say, and ends in good order.
    pub fn assert_closed(&mut self) {
        let (rest, end) = self.read_to_end();
        assert_eq!((rest.length(), end), (0, End::Complete), "{rest:?}");
    }

    /// Whether everything received was also read.
    pub fn nothing_unread(&self) -> bool {
        self.unread.is_empty()
    }

    /// Whether nothing is unread and nothing has come yet.
    pub fn is_silent(&mut self) -> bool {
        self.socket().set_nonblocking(true).expect("a socket can be made non-blocking");
        let mut byte = [0];
        let peeked = self.socket().peek(&mut byte);
        self.socket().set_nonblocking(false).expect("a socket can be made blocking");
        self.unread.is_empty() && peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

fn prepare(stream: TcpStream) -> TcpStream {
    stream.set_nodelay(true).expect("Nagle can be switched off");
    stream.set_read_timeout(Some(PATIENCE)).expect("reads can time out");
    stream.set_write_timeout(Some(PATIENCE)).expect("writes can time out");
    stream
}
