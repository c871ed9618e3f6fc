//! What `connect` takes: without the programs, with all of them where nothing of it is in scope, and where it
//! is led to the gateway's port.

use std::io::{Error, Result};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};

use aya::sys::{Stats, enable_stats};
use serde_json::json;

use super::Figures;
use crate::kernel::{Programs, Scope, Work, Worker, median};
use crate::setting::Setting;

/// Times that the three take turns.
const TURNS: u64 = 21;

/// Connections that are not measured, wherever programs come or go: what the system does about that is over by then.
const FIRST: u64 = 500;

/// Measures the middle of `count` connections, one after another, each turn in all three ways. Ratios are of
/// one turn each; every other turn begins with the programs attached. Then what the programs themselves take of
/// one connection, both ends of it, by the kernel's own measure (`BPF_ENABLE_STATS`), which adds some 70 ns to each run.
pub(super) fn measure(setting: &Setting, count: u64) -> Result<Figures> {
    let scope = Scope::new()?;
    let (mut outside, mut inside) = (Worker::start(None)?, Worker::start(Some(&scope))?);
    let (meant, gateway) = (accepting()?, accepting()?);
    let nowhere = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9);
    let (mut bare, mut attached, mut led) = (Vec::new(), Vec::new(), Vec::new());
    let count = setting.count(count);
    let mut programs = Programs::load(&setting.object, &scope)?;
    programs.watch(&scope, gateway.port(), nowhere)?;
    let connect = |worker: &mut Worker| {
        worker.does(Work::Connect(meant), FIRST)?;
        worker.does(Work::Connect(meant), count)
    };
    for turn in 0..TURNS {
        if turn % 2 == 0 {
            bare.push(connect(&mut outside)?);
        }
        programs.attach()?;
        attached.push(connect(&mut outside)?);
        led.push(connect(&mut inside)?);
        programs.detach();
        if turn % 2 == 1 {
            bare.push(connect(&mut outside)?);
        }
    }
    // By themselves: what the kernel measures of its programs takes it time as well.
    let (mut of_outside, mut of_led) = (Vec::new(), Vec::new());
    programs.attach()?;
    for _ in 0..TURNS {
        for (worker, spent) in [(&mut outside, &mut of_outside), (&mut inside, &mut of_led)] {
            worker.does(Work::Connect(meant), FIRST)?;
            let _measuring = enable_stats(Stats::RunTime).map_err(Error::other)?;
            let before = programs.spent_by_all()?;
            worker.does(Work::Connect(meant), count)?;
            let took = programs.spent_by_all()?.since(before);
            spent.push(took.ns as f64 / count as f64);
        }
    }
    programs.detach();
    let over =
        |these: &[f64]| median(these.iter().zip(&bare).map(|(these, bare)| these / bare).collect());
    let mut figures = Figures::new();
    figures.insert("attached_ratio".to_owned(), json!(over(&attached)?));
    figures.insert("redirected_ratio".to_owned(), json!(over(&led)?));
    figures.insert("attached_programs_ns".to_owned(), json!(median(of_outside)?));
    figures.insert("redirected_programs_ns".to_owned(), json!(median(of_led)?));
    figures.insert("bare_us".to_owned(), json!(median(bare)? / 1e3));
    figures.insert("attached_us".to_owned(), json!(median(attached)? / 1e3));
    figures.insert("redirected_us".to_owned(), json!(median(led)? / 1e3));
    Ok(figures)
}

/// Somebody who takes connections and lets them go.
fn accepting() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || listener.incoming().for_each(drop));
    Ok(address)
}
