//! Timestamps: a real authority made with `openssl ts`, behind a small HTTP server, dates checkpoints
//! of the real gateway; `openssl ts -verify` then accepts what was kept.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use sealtap_common::timestamp::Token;
use sealtap_tests::bundle::{bundle, by_hand, report, wait_closed};
use sealtap_tests::gate::poll;
use sealtap_tests::gateway::Options;
use sealtap_tests::http1::head;
use sealtap_tests::metrics::metrics;
use sealtap_tests::upstream_http1::Upstream;
use sealtap_tests::verify::{Verdict, verify as verdict, verify_small as verdict_small};
use sealtap_tests::wire::Wire;
use tempfile::TempDir;

const CONFIG: &str = "\
[ca]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign
[leaf]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
[tsa]
default_tsa = authority
[authority]
serial = SERIAL
signer_cert = TSA.pem
certs = CA.pem
signer_key = TSA.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
";

/// An authority: keys, certificates, and the requests it has answered.
struct Authority {
    folder: TempDir,
    url: String,
    answered: Arc<AtomicU32>,
}

fn openssl(folder: &Path, line: &str) {
    let output = Command::new("openssl")
        .args(line.split(' '))
        .current_dir(folder)
        .output()
        .expect("openssl can be run");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Authority {
    fn new() -> Self {
        let folder = TempDir::with_prefix("sealtap-tsa-").unwrap();
        let path = folder.path();
        std::fs::write(path.join("tsa.cnf"), CONFIG).unwrap();
        std::fs::write(path.join("SERIAL"), "01\n").unwrap();
        let new = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        openssl(
            path,
            &format!(
                "req -x509 {new} -keyout CA.key -out CA.pem -subj /CN=root -days 2 -config tsa.cnf -extensions ca"
            ),
        );
        openssl(path, &format!("req {new} -keyout TSA.key -out TSA.csr -subj /CN=authority"));
        openssl(
            path,
            "x509 -req -in TSA.csr -CA CA.pem -CAkey CA.key -CAcreateserial -out TSA.pem -days 2 -extfile tsa.cnf -extensions leaf",
        );
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/tsr", listener.local_addr().unwrap());
        let answered = Arc::new(AtomicU32::new(0));
        let (held, count) = (path.to_owned(), Arc::clone(&answered));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // The first request is refused: it is tried again.
                serve(&held, stream, count.fetch_add(1, Ordering::SeqCst) == 0);
            }
        });
        Self { folder, url, answered }
    }
}

/// One request on one connection.
fn serve(folder: &Path, stream: TcpStream, refuse: bool) {
    let mut reader = BufReader::new(&stream);
    let (mut length, mut line) = (0, String::new());
    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap(),
            "content-type" => assert_eq!(value.trim(), "application/timestamp-query"),
            _ => {}
        }
        line.clear();
    }
    let mut query = vec![0; length];
    reader.read_exact(&mut query).unwrap();
    let reply = if refuse {
        // PKIStatus rejection, as RFC 3161 has it.
        vec![0x30, 5, 0x30, 3, 2, 1, 2]
    } else {
        std::fs::write(folder.join("query.tsq"), query).unwrap();
        openssl(
            folder,
            "ts -reply -config tsa.cnf -section authority -queryfile query.tsq -out reply.tsr",
        );
        std::fs::read(folder.join("reply.tsr")).unwrap()
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/timestamp-reply\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        reply.len()
    );
    let _ = (&stream).write_all(&[head.as_bytes(), &reply].concat());
}

#[test]
fn a_real_authority_dates_checkpoints_and_openssl_verifies_them() {
    let authority = Authority::new();
    let upstream = Upstream::answering(|session, _| {
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "0")]));
    });
    let config = format!(
        "[timestamp]\nurl = \"{}\"\ninterval = \"1s\"\n[runs]\nidle = \"200ms\"\n",
        authority.url
    );
    let gateway = Options::default().upstream("up", upstream.url()).config(config).start();
    let witness = gateway.home().data().join("witness");
    let files: [PathBuf; 2] = ["timestamp.checkpoint", "timestamp.tsr"].map(|f| witness.join(f));
    let dated = || {
        let (dated, reply) = (std::fs::read(&files[0]).ok()?, std::fs::read(&files[1]).ok()?);
        Token::read(&reply).ok()?.dates(&dated).ok()?;
        Some(dated)
    };
    let first = poll("a first token", dated);
    let mut client = Wire::connect(gateway.address());
    client.send(head("GET /run/dated/up/x HTTP/1.1", &[("Host", "x")]));
    assert_eq!(client.response("GET").status(), 200);
    drop(client);
    wait_closed(gateway.home(), "dated");
    let of_all = || dated().filter(|dated| *dated != first && size(dated) >= 4);
    poll("a token of a later checkpoint", of_all);
    // They are counted when they are kept, which the files are seen to be a moment before.
    let metrics = poll("timestamps that are counted", || {
        let metrics = metrics(gateway.address());
        (metrics["sealtap_timestamp_size"] >= 4.0).then_some(metrics)
    });
    assert!(metrics["sealtap_timestamps_total"] >= 2.0, "{metrics:?}");
    assert_eq!(metrics["sealtap_timestamp_failures_total"], 1.0, "{metrics:?}");
    assert!(metrics["sealtap_timestamp_age_seconds"] < 600.0, "{metrics:?}");
    assert!(authority.answered.load(Ordering::SeqCst) >= 3, "refused once, granted twice");
    let home = gateway.terminate();

    let verify = |data: &Path| {
        Command::new("openssl")
            .args(["ts", "-verify", "-data"])
            .arg(data)
            .arg("-in")
            .arg(&files[1])
            .arg("-CAfile")
            .arg(authority.folder.path().join("CA.pem"))
            .output()
            .unwrap()
    };
    let output = verify(&files[0]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // The dated bytes are a checkpoint that this log's key signed; of other bytes nothing is said.
    let other = home.path().join("other");
    std::fs::write(&other, b"other").unwrap();
    assert!(!verify(&other).status.success());
    let dated = String::from_utf8(std::fs::read(&files[0]).unwrap()).unwrap();
    assert!(dated.starts_with("sealtap.local/") && dated.matches('\u{2014}').count() == 1);
    home.assert_valid();
    upstream.finish();

    // The verifiers say which tree was dated, and when, and leave the signature to openssl.
    let (_, said) = verdict(&home.data(), Some(&home.keys()));
    let leaves = format!("timestamp: {} leaves, dated 20", size(dated.as_bytes()));
    assert!(said.contains(&leaves) && said.contains("openssl ts -verify"), "{said}");
    // The token travels with the run, and its bundle says the same.
    let path = bundle(&home, "dated", &["none"]);
    let told = report(&home, &path);
    assert_eq!(told["verdict"], "valid", "{told}");
    assert_eq!(told["timestamp"]["size"], size(dated.as_bytes()), "{told}");
    assert_eq!(told["timestamp"]["signature"], "not checked", "{told}");
    let ca = authority.folder.path().join("CA.pem");
    let said = by_hand(&path, &home.keys(), &[("ca.pem", &ca)]);
    assert!(said.contains("Verification: OK") && said.contains("grown from timestamp"), "{said}");
    assert!(!said.contains("NOT"), "{said}");
    // What our verifiers let pass of a changed token, openssl finds.
    let token = std::fs::read(&files[1]).unwrap();
    let mut left = 0;
    // What it says: imprint, serial number and time; and its signature, which ends it. Between the two
    // lie certificates, of which openssl needs no copy where it trusts the original.
    let imprint = openssl_sha256(&files[0]);
    let said_at = memchr::memmem::find(&token, &imprint).unwrap();
    let says = said_at..said_at + 32 + 24;
    for at in says.step_by(3).chain(token.len() - 60..token.len()) {
        let mut changed = token.clone();
        changed[at] ^= 1;
        std::fs::write(&files[1], &changed).unwrap();
        let (verdict, said) = verdict_small(&home.data(), &home.keys());
        assert_eq!(verdict, Verdict::Valid, "{said}");
        if said.contains("timestamp: none") {
            continue;
        }
        left += 1;
        assert!(said.contains("not checked here"), "{said}");
        assert!(!verify(&files[0]).status.success(), "byte {at} of the token");
    }
    assert!(left > 5, "{left} changes are left to openssl");
    std::fs::write(&files[1], &token).unwrap();
    // A log that lacks what was dated is not that log any more.
    let text = dated.replacen(&format!("\n{}\n", size(dated.as_bytes())), "\n9\n", 1);
    std::fs::write(&files[0], text).unwrap();
    let (verdict, said) = verdict_small(&home.data(), &home.keys());
    assert_eq!(verdict, Verdict::NotValid, "{said}");
}

fn openssl_sha256(file: &Path) -> Vec<u8> {
    let output = Command::new("openssl").args(["dgst", "-sha256", "-binary"]).arg(file).output();
    output.unwrap().stdout
}

/// The leaves that a checkpoint covers.
fn size(checkpoint: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(checkpoint);
    text.lines().nth(1).and_then(|size| size.parse().ok()).unwrap_or_default()
}
