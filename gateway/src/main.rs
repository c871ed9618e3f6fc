//! The `sealtap` binary: joins the commands to the parts of the gateway they need.

use std::process::ExitCode;

use mimalloc::MiMalloc;
use sealtap::command::Parts;

/// Records are made on one thread and dropped on another, which the system's allocator pays for with
/// locks and with arenas that grow page by page.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const PARTS: Parts = Parts {
    serve: sealtap::serve::run::run,
    demo: sealtap::serve::demo::run,
    ls: sealtap::serve::browse::list,
    show: sealtap::serve::browse::show,
    witness: sealtap::serve::witness::run,
    runs: sealtap::serve::runs::run,
    bundle: sealtap::serve::bundle::run,
};

fn main() -> ExitCode {
    sealtap::command::main(std::env::args_os(), &PARTS)
}
