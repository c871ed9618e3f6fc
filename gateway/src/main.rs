//! The `sealtap` binary: joins the commands to the parts of the gateway they need.

use std::process::ExitCode;

use sealtap::command::{Failure, Parts};

const PARTS: Parts = Parts {
    serve: |_| Err(Failure::new("this build has no gateway")),
    demo: |_, _| Err(Failure::new("this build has no demonstration")),
    ls: |_, _| Err(Failure::new("this build has no store")),
    show: |_, _| Err(Failure::new("this build has no store")),
};

fn main() -> ExitCode {
    sealtap::command::main(std::env::args_os(), &PARTS)
}
