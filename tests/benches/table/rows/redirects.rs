//! Connections that are led to the gateway, a second: to somebody who accepts them there, asks the kernel where each was
//! meant to go and ends it, which is what the kernel's part takes; and through `sealtap run` to where they were
//! meant to go and back, with all that is recorded of each.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Error, Read as _, Result, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustix::net::sockopt::ip_original_dst;
use serde_json::{Value, json};

use super::Figures;
use crate::kernel::{Programs, Scope, Work, Worker};
use crate::setting::Setting;

/// Processes that connect.
const WORKERS: usize = 2;

/// Ports of clients, and where each was meant to go.
type Meant = Vec<(u16, u32)>;

/// Measures `count` connections of each worker: from `connect` until whoever listens where they are led has
/// accepted them and read where they were meant to go.
pub(super) fn measure(setting: &Setting, count: u64) -> Result<Figures> {
    let scope = Scope::new()?;
    let count = setting.count(count);
    let taken = Arc::new(Mutex::new(Meant::new()));
    let gateway = accepting(&taken)?;
    let mut programs = Programs::attached(&setting.object, &scope)?;
    programs.watch(&scope, gateway.port(), SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9))?;
    let mut workers: Vec<Worker> =
        (0..WORKERS).map(|_| Worker::start(Some(&scope))).collect::<Result<_>>()?;
    let began = Instant::now();
    for worker in &mut workers {
        worker.begin(Work::Reach(9), count)?;
    }
    let mut meant = Meant::new();
    for worker in &mut workers {
        meant.extend(pairs(&worker.said()?)?);
    }
    let seconds = began.elapsed().as_secs_f64();
    let taken = std::mem::take(&mut *taken.lock().map_err(|_| Error::other("an acceptor failed"))?);
    let mut figures = Figures::new();
    figures.insert("per_s".to_owned(), json!(meant.len() as f64 / seconds));
    figures.insert("wrong".to_owned(), json!(wrong(&meant, &taken)));
    drop((programs, workers));
    figures.insert("through_per_s".to_owned(), json!(through(setting, count / 10)?));
    Ok(figures)
}

/// The whole way: `count` connections of a command of `sealtap run`, each of which says where it meant to go and
/// is told by whoever is reached where that is.
fn through(setting: &Setting, count: u64) -> Result<f64> {
    let home = tempfile::Builder::new().prefix("redirects-").tempdir_in(&setting.scratch)?;
    let account = home.path().join("account.json");
    let mut command = Command::new(&setting.sealtap);
    command.arg("run").arg("--data").arg(home.path().join("data"));
    command.arg("--lock").arg(home.path().join("lock"));
    command.arg(format!("--json={}", account.display())).arg("--kernel=require");
    command.arg("--").arg(std::env::current_exe()?).arg("work");
    command.current_dir(home.path()).env("HOME", home.path());
    command.stderr(File::create(home.path().join("stderr"))?);
    let mut worker = Worker::of(&mut command)?;
    let listener = TcpListener::bind("0.0.0.0:0")?;
    rustix::net::listen(&listener, 4096)?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let Ok(SocketAddr::V4(own)) = stream.local_addr() else { continue };
            let mut meant = [0; 4];
            // Whoever meant another place is told of this one.
            let _ =
                stream.read_exact(&mut meant).and_then(|()| stream.write_all(&own.ip().octets()));
        }
    });
    let ns = worker.does(Work::Tell(port), count)?;
    drop(worker);
    let account: Value = serde_json::from_slice(&std::fs::read(account)?).map_err(Error::other)?;
    let coverage = &account["coverage"];
    if coverage["redirected"] != count || coverage["level"] != "kernel_observed" {
        return Err(Error::other(format!("not {count} connections, all of them seen: {coverage}")));
    }
    Ok(count as f64 / (ns / 1e9))
}

fn pairs(said: &Value) -> Result<Meant> {
    let pair = |pair: &Value| {
        Some((u16::try_from(pair[0].as_u64()?).ok()?, u32::try_from(pair[1].as_u64()?).ok()?))
    };
    let made = said["made"].as_array().into_iter().flatten();
    made.map(|one| pair(one).ok_or_else(|| Error::other("a worker says nothing"))).collect()
}

/// How many were not taken for what they were meant for, each port's counted by themselves.
fn wrong(meant: &Meant, taken: &Meant) -> usize {
    let mut left: HashMap<(u16, u32), i64> = HashMap::new();
    for pair in meant {
        *left.entry(*pair).or_default() += 1;
    }
    for pair in taken {
        *left.entry(*pair).or_default() -= 1;
    }
    left.values().filter(|left| **left != 0).count()
}

/// Somebody who asks the kernel where each connection was meant to go, and ends it.
fn accepting(taken: &Arc<Mutex<Meant>>) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    rustix::net::listen(&listener, 4096)?;
    let address = listener.local_addr()?;
    let taken = Arc::clone(taken);
    std::thread::spawn(move || {
        while let Ok((stream, from)) = listener.accept() {
            let meant = ip_original_dst(&stream).map_or(0, |place| place.ip().to_bits());
            if let Ok(mut taken) = taken.lock() {
                taken.push((from.port(), meant));
            }
        }
    });
    Ok(address)
}
