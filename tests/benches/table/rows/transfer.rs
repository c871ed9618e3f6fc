//! One large body, up and down.

use std::io::Result;

use serde_json::json;

use super::{Figures, sealed, stop};
use crate::process::Cpu;
use crate::setting::{Setting, load};
use crate::system::{Running, System};

/// Measures a request and then an answer of `size` bytes.
pub(super) fn measure(setting: &Setting, system: System, size: u64) -> Result<Figures> {
    let running = Running::start(system, setting)?;
    let direct = system == System::Direct;
    let usage = || if direct { Ok(Cpu::default()) } else { Cpu::of(running.pid()?) };
    let mut figures = Figures::new();
    let mut leaves = running.leaves();
    for (name, request, answer) in [("warm", 1024, 1024), ("up", size, 1024), ("down", 1024, size)]
    {
        let before = usage()?;
        let options = [("request", request), ("answer", answer), ("count", 1), ("connections", 1)];
        let said = load(&running, "chats", &options)?;
        leaves += 1;
        if system.seals() {
            sealed(&running, leaves)?;
        }
        let spent = usage()?.since(&before);
        if name != "warm" {
            figures.insert(format!("{name}_s"), json!(said["longest_s"]));
            if !direct {
                let cpu = spent.total - spent.thread("store");
                figures.insert(format!("{name}_cpu_s"), json!(cpu));
            }
        }
    }
    stop(setting, running, 3)?;
    Ok(figures)
}
