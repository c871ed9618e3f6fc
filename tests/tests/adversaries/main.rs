//! Adversaries: each known way around the gateway, tried for real.
//!
//! Each way has a control, the same try where no kernel programs are, which must reach the target: a
//! dead network passes for nothing. What then becomes of it is read from the sealed leaves of the log
//! by the verifier: stopped, or seen and counted, or listed as not covered. Needs root and the
//! kernel's hooks; run by `cargo xtask kernel`. Elsewhere every case says so and none passes.

mod place;
mod ways;

use std::process::ExitCode;

use sealtap_tests::suite;

use crate::ways::{Mode, WAYS};

fn unavailable() -> Option<String> {
    if std::env::var_os("SEALTAP_KERNEL_SUITE").is_none() {
        return Some("it attaches to the whole machine: run by `cargo xtask kernel`".to_owned());
    }
    (!rustix::process::geteuid().is_root()).then(|| "kernel programs take root".to_owned())
}

fn main() -> ExitCode {
    let names: Vec<String> =
        WAYS.iter().map(|way| format!("{}_when_observed", way.name)).collect();
    let mut tests: Vec<(&str, Box<dyn Fn()>)> = Vec::new();
    for (name, way) in names.iter().zip(WAYS) {
        tests.push((name, Box::new(move || ways::hold(way, Mode::Observe))));
    }
    suite::main(&tests, unavailable())
}
