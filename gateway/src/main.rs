//! The `sealtap` binary: joins the commands to the parts of the gateway they need.

use std::process::ExitCode;

use sealtap::command::Parts;

const PARTS: Parts = Parts {
    serve: sealtap::serve::run::run,
    run: sealtap::launch::run,
    demo: sealtap::serve::demo::run,
    ls: sealtap::serve::browse::list,
    show: sealtap::serve::browse::show,
    witness: sealtap::serve::witness::run,
    runs: sealtap::serve::runs::run,
    bundle: sealtap::serve::bundle::run,
    loader: sealtap::kernel::run_loader,
    kernel_status: sealtap::kernel::status,
    kernel_detach: sealtap::kernel::detach,
};

fn main() -> ExitCode {
    sealtap::command::main(std::env::args_os(), &PARTS)
}
