//! What a packet costs on its way out, by the kernel's own measure of its programs (`BPF_ENABLE_STATS`), beside
//! a program at the same hook that counts and does no more: the same packets pass both.

use std::io::{Error, Read as _, Result, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};

use aya::sys::{Stats, enable_stats};
use serde_json::json;

use super::Figures;
use crate::kernel::{Counting, PACKETS, Programs, Scope, Spent, Work, Worker, median};
use crate::setting::Setting;

/// Times that everything takes turns.
const TURNS: u64 = 7;

/// One kind of traffic.
struct Kind {
    /// The figure's name.
    name: &'static str,
    inside: bool,
    work: Work,
    times: u64,
}

/// Measures each kind of traffic `count` times.
pub(super) fn measure(setting: &Setting, count: u64) -> Result<Figures> {
    let scope = Scope::new()?;
    let (mut outside, mut inside) = (Worker::start(None)?, Worker::start(Some(&scope))?);
    let (plain, listed, gateway) = (echoing()?, echoing()?, echoing()?);
    // Nobody reads; what finds no room there has left all the same.
    let sink = UdpSocket::bind("127.0.0.1:0")?;
    let sink = sink.local_addr()?;
    let SocketAddr::V4(alone) = listed else {
        return Err(std::io::ErrorKind::AddrNotAvailable.into());
    };
    let count = setting.count(count);
    let kinds = [
        Kind { name: "outside", inside: false, work: Work::Echo(plain), times: count },
        Kind { name: "gateway", inside: true, work: Work::Echo(plain), times: count },
        Kind { name: "listed", inside: true, work: Work::Echo(listed), times: count },
        Kind { name: "flood", inside: true, work: Work::Send(sink), times: count * 5 },
    ];
    let mut all: Vec<(&str, Vec<f64>)> = Vec::new();
    let mut add = |name, value| match all.iter_mut().find(|(known, _)| *known == name) {
        Some((_, values)) => values.push(value),
        None => all.push((name, vec![value])),
    };
    for _ in 0..TURNS {
        add("send_bare", outside.does(Work::Send(sink), count * 5)?);
        let mut counting = Counting::attach(scope.root())?;
        add("send_counted", outside.does(Work::Send(sink), count * 5)?);
        let mut programs = Programs::attached(&setting.object, &scope)?;
        programs.watch(&scope, gateway.port(), alone)?;
        add("send_outside", outside.does(Work::Send(sink), count * 5)?);
        add("send_flood", inside.does(Work::Send(sink), count * 5)?);
        let _measuring = enable_stats(Stats::RunTime).map_err(Error::other)?;
        let mut one_outside = 0.0;
        for kind in &kinds {
            let before = (counting.spent()?, programs.spent(PACKETS)?, programs.packets()?);
            let worker = if kind.inside { &mut inside } else { &mut outside };
            worker.does(kind.work, kind.times)?;
            let counted = counting.spent()?.since(before.0).each();
            let spent = programs.spent(PACKETS)?.since(before.1);
            let of_scope = programs.packets()? - before.2;
            let each = match kind.inside {
                false => spent.each(),
                true => in_scope(spent, of_scope, one_outside),
            };
            if !kind.inside {
                one_outside = each;
            }
            add("counted", counted);
            add(kind.name, each);
            add(beyond(kind.name), each - counted);
        }
    }
    let mut figures = Figures::new();
    let mut worst = 0.0_f64;
    for (name, values) in all {
        let value = median(values)?;
        if name.ends_with("_beyond") {
            worst = worst.max(value);
        }
        figures.insert(format!("{name}_ns"), json!(value));
    }
    figures.insert("worst_beyond_ns".to_owned(), json!(worst));
    Ok(figures)
}

/// For one packet in scope: the other side's packets were out of it, and known to cost so much.
fn in_scope(spent: Spent, of_scope: u64, one_outside: f64) -> f64 {
    let others = spent.runs.saturating_sub(of_scope) as f64 * one_outside;
    (spent.ns as f64 - others) / of_scope.max(1) as f64
}

fn beyond(name: &str) -> &'static str {
    match name {
        "outside" => "outside_beyond",
        "gateway" => "gateway_beyond",
        "listed" => "listed_beyond",
        _ => "flood_beyond",
    }
}

/// Somebody who gives back what comes.
fn echoing() -> Result<SocketAddr> {
    let listener = TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut bytes = [0; 64];
            let _ = stream.set_nodelay(true);
            while let Ok(read @ 1..) = stream.read(&mut bytes) {
                if stream.write_all(&bytes[..read]).is_err() {
                    break;
                }
            }
        }
    });
    Ok(address)
}
