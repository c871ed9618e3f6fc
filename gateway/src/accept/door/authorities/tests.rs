//! What a client of `h2` sends, as it writes it: compressed, with references to what it sent before.

use h2::client::{Builder as Client, SendRequest};
use http::{HeaderMap, Method};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// That a stream ends (RFC 9113 section 6.2).
const END_STREAM: u8 = 1;

/// A client's connection: what it writes is kept, and what it is to read is given.
struct Sent {
    written: Written,
    send: SendRequest<Bytes>,
    connection: h2::client::Connection<Written, Bytes>,
}

#[derive(Clone, Default)]
struct Written {
    read: Wire,
    written: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Written {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(context, buffer)
    }
}

impl AsyncWrite for Written {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written.lock().unwrap().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Sent {
    /// A client that heard these settings of its server's.
    fn after(settings: &[u8]) -> Self {
        let written = Written::default();
        let length = u8::try_from(settings.len()).unwrap();
        written.read.push(&[0, 0, length, 4, 0, 0, 0, 0, 0]);
        written.read.push(settings);
        let handshake = Client::new().handshake(written.clone());
        let Poll::Ready(Ok((send, connection))) =
            pin!(handshake).poll(&mut Context::from_waker(Waker::noop()))
        else {
            panic!("it waits for nobody");
        };
        let mut sent = Self { written, send, connection };
        sent.go_on();
        sent
    }

    fn go_on(&mut self) {
        let pending = Pin::new(&mut self.connection).poll(&mut Context::from_waker(Waker::noop()));
        assert!(pending.is_pending());
    }

    /// Asks for this, with that field; nobody waits for an answer.
    fn ask(&mut self, url: &str, field: (&'static str, &str)) -> Vec<u8> {
        let request = Request::builder().method(Method::POST).uri(url).header(field.0, field.1);
        let (answer, mut body) = self.send.send_request(request.body(()).unwrap(), false).unwrap();
        self.go_on();
        let _ = body.send_data(Bytes::from_static(b"PRI * HTTP/2.0"), false);
        let trailers = HeaderMap::from_iter([(HOST, "model.example".parse().unwrap())]);
        body.send_trailers(trailers).unwrap();
        self.go_on();
        drop((answer, body));
        self.go_on();
        std::mem::take(&mut *self.written.written.lock().unwrap())
    }
}

fn authorities() -> Authorities {
    Authorities::new(Box::new(|host| host == "model.example"))
}

const OTHER: &str = "http://other.example:81/v1/x";
const NAMED: &str = "http://Model.example:81/v1/x";
const FIELD: (&str, &str) = ("x-agent", "the same in each request");

/// The server's `SETTINGS_HEADER_TABLE_SIZE`: what the client remembers then is beyond what it may without it.
const LARGE: &[u8] = &[0, 1, 0, 1, 0, 0];

#[test]
fn a_captured_host_is_seen_in_any_request() {
    for settings in [&[][..], LARGE] {
        let (mut names, mut single, mut sent) =
            (authorities(), authorities(), Sent::after(settings));
        let mut saw = |bytes: &[u8]| {
            let saw = names.look(bytes);
            let each = bytes.iter().map(|byte| single.look(&[*byte])).max();
            assert_eq!(each, Some(saw));
            saw
        };
        assert_eq!(saw(&sent.ask(OTHER, FIELD)), Saw::Nothing);
        // Of a body that is not looked at.
        assert_eq!(saw(&sent.ask(OTHER, ("content-length", "14"))), Saw::Nothing);
        assert_eq!(saw(&sent.ask(NAMED, ("content-length", "14"))), Saw::Captured);
        assert_eq!(saw(&sent.ask(NAMED, FIELD)), Saw::Captured);
        assert_eq!(saw(&sent.ask(OTHER, ("host", "model.example"))), Saw::Captured);
        assert_eq!(saw(&sent.ask(OTHER, FIELD)), Saw::Nothing);
        assert!(names.have_come() && names.requests == 6, "trailers are none");
    }
}

/// However many come, and whatever becomes of them, the last one is read like the first.
#[test]
fn a_long_connection_is_read_to_its_end() {
    let (mut names, mut sent) = (authorities(), Sent::after(LARGE));
    for number in 0..3000 {
        let url = format!("http://other{number}.example/v1");
        let value = "x".repeat(number % 700);
        assert_eq!(names.look(&sent.ask(&url, ("x-agent", &value))), Saw::Nothing, "{number}");
    }
    assert_eq!(names.look(&sent.ask(NAMED, FIELD)), Saw::Captured);
}

#[test]
fn what_cannot_be_read_says_so() {
    // No request, though it may be one for others: what follows is read.
    let mut names = authorities();
    let mut sent = Sent::after(&[]);
    let first = sent.ask(OTHER, FIELD);
    assert_eq!(names.look(&first), Saw::Nothing);
    let get = [0, 0, 1, HEADERS, END_HEADERS | END_STREAM, 0, 0, 0, 99, 0x82];
    assert_eq!(names.look(&get), Saw::Undecided);
    assert_eq!(names.look(&get), Saw::Nothing, "that stream had begun: trailers");
    assert_eq!(names.requests, 1);
    let again = sent.ask(NAMED, FIELD);
    assert_eq!(names.look(&again), Saw::Captured);
    // Fields that nobody can read, and frames that nobody reads on.
    let index = [0, 0, 1, HEADERS, END_HEADERS | END_STREAM, 0, 0, 0, 101, 0xfe];
    let lone = [0, 0, 0, 9, END_HEADERS, 0, 0, 0, 1];
    for odd in [index.as_slice(), lone.as_slice()] {
        let mut names = authorities();
        assert_eq!(names.look(&first), Saw::Nothing);
        assert_eq!(names.look(odd), Saw::Undecided);
        assert_eq!(names.look(&again), Saw::Undecided);
        // What was named before it counts.
        let mut names = authorities();
        let all = [first.as_slice(), &again, odd].concat();
        assert_eq!(names.look(&all), Saw::Captured);
    }
}

proptest! {
    /// Whatever frames come, whole or byte by byte, the same is said of them.
    #[test]
    fn any_frames_are_looked_at(frames in vec((0..10_u8, any::<u8>(), 0..9_u8, vec(any::<u8>(), 0..40)), 0..20)) {
        let mut all = BEGIN.to_vec();
        for (kind, flags, stream, payload) in frames {
            all.extend([0, 0, u8::try_from(payload.len()).unwrap(), kind, flags, 0, 0, 0, stream]);
            all.extend(payload);
        }
        let mut single = authorities();
        let each = all.iter().map(|byte| single.look(&[*byte])).max();
        prop_assert_eq!(each, Some(authorities().look(&all)));
    }
}
