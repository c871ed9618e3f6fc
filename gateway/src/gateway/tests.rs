//! A gateway opened on what a crash left, again and again, and one whose threads die.

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use sealtap_common::directory::LogDirectory;
use sealtap_common::leaf::Leaf;
use sealtap_common::note::PublicKey;
use sealtap_common::unit::{RequestHead, RequestLine, Shown, Version};
use sealtap_common::verify::verify;

use super::*;
use crate::capture::journal::JournalError;
use crate::capture::journal::RESUMED;
use crate::capture::record::{
    Closed, Dialect, ExchangeKeys, Opened as OpenedRecord, Requested, kind,
};
use crate::data::DataDir;
use crate::seal::keys::Keys;
use crate::seal::log::{published, read_entries};
use crate::store::{StoreReader, audit};

fn config(data: &Path) -> Config {
    let mut config = Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        data: data.to_owned(),
        lock: Some(data.join("lock")),
        ..Config::default()
    };
    config.journal.file_size = 1 << 20;
    config
}

async fn open(data: &Path) -> Gateway {
    open_with(&config(data)).await
}

async fn open_with(config: &Config) -> Gateway {
    let table = Table::new(config).unwrap();
    Gateway::open(config, table, false, Box::new(|_| {})).await.unwrap()
}

async fn stop(gateway: Gateway) {
    let (_stop, stopped) = channel(true);
    gateway.serve(stopped).await.unwrap();
}

/// Every leaf, from a log that must be valid.
fn leaves(data: &Path) -> Vec<Leaf> {
    let directory = DataDir::new(data);
    let keys = Keys::load(&directory.keys()).unwrap();
    let key = PublicKey::parse(keys.public_text().lines().next().unwrap()).unwrap();
    let report = verify(&LogDirectory::open(&directory.log()).unwrap(), &[key], &mut ());
    assert_eq!(report.verdict().exit_code(), 0, "{:?}", report.lines());
    let size = published(&directory.log()).unwrap().unwrap().size;
    let entries = read_entries(&directory.log(), 0..size).unwrap();
    entries.iter().map(|entry| Leaf::decode(entry).unwrap()).collect()
}

fn copy(from: &Path, to: &Path, leave: &[&str]) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if leave.iter().any(|left| name == *left) {
            continue;
        }
        let target = to.join(&name);
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target, &[]);
        } else {
            match fs::copy(entry.path(), target) {
                // A spare file of the journal may get its name just now.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                copied => drop(copied.unwrap()),
            }
        }
    }
}

fn opened(number: u64) -> Vec<u8> {
    let mut id = [3; 16];
    id[..8].copy_from_slice(&number.to_le_bytes());
    let key = [4; 32];
    let keys = ExchangeKeys {
        request_head: key,
        request_body: key,
        request_trailers: key,
        interim: key,
        response_head: key,
        response_body: key,
        response_trailers: key,
        context: key,
    };
    let record = OpenedRecord {
        id,
        started_us: 1,
        keys,
        run: id,
        run_by: Cow::Borrowed("connection"),
        run_name: None,
        client: Cow::Borrowed("127.0.0.1:1"),
        upstream_name: None,
        upstream_url: None,
        strict: true,
    };
    postcard::to_stdvec(&record).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_dies_stops_the_gateway_and_nobody_says_goodbye() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = open(directory.path()).await;
    gateway.journal.begin(kind::OPENED, &[&opened(1)]).unwrap();
    gateway.journal.panic();
    let (_stop, never) = channel(false);
    let served = gateway.serve(never).await;
    assert!(
        matches!(served, Err(ServeError::Journal(JournalError::Unwritten { .. }))),
        "{served:?}"
    );
    let closing = |leaf: &Leaf| matches!(leaf, Leaf::Heartbeat(beat) if beat.closing);
    assert!(!leaves(directory.path()).iter().any(closing));

    // The next start finds a boot that ended uncleanly.
    stop(open(directory.path()).await).await;
    let after = leaves(directory.path());
    let clean = after.iter().filter_map(|leaf| match leaf {
        Leaf::Restart(restart) => restart.previous.as_ref().map(|previous| previous.clean),
        _ => None,
    });
    assert_eq!(clean.collect::<Vec<_>>(), [false]);
    assert!(closing(after.last().unwrap()));
}

fn gaps(data: &Path) -> usize {
    leaves(data).iter().filter(|leaf| matches!(leaf, Leaf::Gap(_))).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_that_is_read_again_is_sealed_once() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    let gateway = open(data).await;
    let mut resumed = 1_u64.to_le_bytes().to_vec();
    resumed.push(1);
    for value in [10_u64, 20, 3] {
        resumed.extend(value.to_le_bytes());
    }
    gateway.journal.note(RESUMED, &[&resumed]).unwrap();
    stop(gateway).await;
    assert_eq!(gaps(data), 1);
    for _ in 0..3 {
        stop(open(data).await).await;
        assert_eq!(gaps(data), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_without_an_end_is_sealed_once() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    stop(open(data).await).await;
    let Some(Leaf::Restart(restart)) = leaves(data).first().cloned() else { panic!("a restart") };
    let mut block = b"sealtapR".to_vec();
    block.extend(1_u32.to_le_bytes());
    block.extend(9_u64.to_le_bytes());
    block.extend(1_u32.to_le_bytes());
    block.extend(restart.boot.0);
    for value in [1_u64, 17] {
        block.extend(value.to_le_bytes());
    }
    block.push(2);
    block.resize(4_092, 0);
    let crc = crc32fast::hash(&block);
    block.extend(crc.to_le_bytes());
    block.resize(8_192, 0);
    // As if a crash had come between the leaf and the moment when the reserve forgets, thrice.
    for _ in 0..3 {
        fs::write(data.join("journal/reserve"), &block).unwrap();
        stop(open(data).await).await;
        assert_eq!(gaps(data), 1);
    }
}

/// Far more exchanges than may wait in memory get their leaves while the store cannot be written, and
/// all of them are stored once it can.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_behind_holds_no_leaf_back() {
    const COUNT: u64 = 6_000;
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    let gateway = open(data).await;
    let database = DataDir::new(data).store().join("exchanges.db");
    let other = rusqlite::Connection::open(database).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();

    let closed =
        postcard::to_stdvec(&Closed { at_us: 2, outcome: Cow::Borrowed("complete"), error: None });
    let closed = closed.unwrap();
    for number in 1..=COUNT {
        gateway.journal.room().await;
        // Long and never the same: in memory they would take 60 MB.
        let target = number.to_string().repeat(10_000 / number.to_string().len());
        let line = RequestLine {
            authority: None,
            method: Cow::Borrowed(b"POST"),
            scheme: None,
            target: vec![Shown::Plain(Cow::Borrowed(target.as_bytes()))],
            version: Version::Http11,
        };
        let (received_line, received_fields) = (line.clone(), Vec::new());
        let head = RequestHead { line, fields: Vec::new(), received_line, received_fields };
        let head = Cow::Owned(serde_bytes::ByteBuf::from(head.encode()));
        let requested = Requested { dialect: Dialect::Bytes, head };
        let requested = postcard::to_stdvec(&requested).unwrap();
        let body = [0_u64.to_le_bytes(), number.to_le_bytes()].concat();
        let (ticket, _) = gateway.journal.begin(kind::OPENED, &[&opened(number)]).unwrap();
        gateway.journal.append(ticket, kind::REQUESTED, &[&requested]).unwrap();
        gateway.journal.append(ticket, kind::REQUEST_DATA, &[&body]).unwrap();
        gateway.journal.append(ticket, kind::CLOSED, &[&closed]).unwrap();
    }
    let log = DataDir::new(data).log();
    let began = std::time::Instant::now();
    while published(&log).unwrap().is_none_or(|log| log.size < COUNT) {
        assert!(began.elapsed() < Duration::from_secs(120), "leaves wait for the store");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let reader = StoreReader::open(&DataDir::new(data).store()).unwrap();
    assert!(reader.newest(1).unwrap().is_empty(), "nothing is stored yet");
    other.execute_batch("ROLLBACK").unwrap();
    stop(gateway).await;

    let mut stored = 0_u64;
    for leaf in leaves(data) {
        if let Leaf::Exchange(exchange) = leaf {
            let found = reader.exchange(&exchange.exchange.0).unwrap().unwrap();
            assert_eq!(found.number, exchange.number);
            stored += 1;
        }
    }
    assert_eq!(stored, COUNT);
    let directory = DataDir::new(data);
    let mut report = verify(&LogDirectory::open(&directory.log()).unwrap(), &[], &mut ());
    audit(&directory, &mut report);
    assert_eq!(report.verdict().exit_code(), 2, "{:?}", report.lines());
}

/// As many open exchanges as no restart leaf could name one by one, with others between them that
/// had ended and had no leaf yet.
#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_open_at_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let (data, killed) = (directory.path().join("data"), directory.path().join("killed"));
    // One file for all of it, which the store cannot give back before it is copied.
    let mut roomy = config(&data);
    roomy.journal.file_size = 256 << 20;
    let gateway = open_with(&roomy).await;
    // What the log is at the kill; the journal follows.
    copy(&data, &killed, &["journal"]);
    let closed =
        postcard::to_stdvec(&Closed { at_us: 2, outcome: Cow::Borrowed("complete"), error: None });
    let closed = closed.unwrap();
    for number in 1..=40_000 {
        gateway.journal.room().await;
        let (ticket, mut position) =
            gateway.journal.begin(kind::OPENED, &[&opened(number)]).unwrap();
        if number % 2 == 0 {
            position = gateway.journal.append(ticket, kind::CLOSED, &[&closed]).unwrap();
        }
        if number == 40_000 {
            gateway.journal.durable(position).await.unwrap();
        }
    }
    copy(&data.join("journal"), &killed.join("journal"), &[]);
    stop(gateway).await;

    let gateway = open(&killed).await;
    assert_eq!(gateway.report().interrupted, 20_000);
    stop(gateway).await;
    let leaves = leaves(&killed);
    let interrupted = leaves.iter().filter(|leaf| leaf.kind() == "interrupted").count();
    let complete = leaves.iter().filter(|leaf| leaf.kind() == "exchange").count();
    assert_eq!((interrupted, complete), (20_000, 20_000));
    // No head came of any of them before the kill.
    let headless = |leaf: &Leaf| match leaf {
        Leaf::Exchange(exchange) => exchange.request.head.is_none() && exchange.context.length > 0,
        _ => true,
    };
    assert!(leaves.iter().all(headless));
}
