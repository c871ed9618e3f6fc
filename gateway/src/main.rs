//! The `sealtap` binary: joins the commands to the parts of the gateway they need.

use std::process::ExitCode;

use sealtap::command::Parts;
use sealtap::command::kernel::Inner;

const PARTS: Parts = Parts {
    serve: sealtap::serve::run::run,
    run: sealtap::launch::run,
    demo: sealtap::serve::demo::run,
    ls: sealtap::serve::browse::list,
    show: sealtap::serve::browse::show,
    witness: sealtap::serve::witness::run,
    names: sealtap::serve::names::run,
    bypasses: sealtap::serve::bypasses::run,
    runs: sealtap::serve::runs::run,
    bundle: sealtap::serve::bundle::run,
    kernel: Inner {
        loader: sealtap::kernel::run_loader,
        canary: sealtap::kernel::canary::run_canary,
        probe: sealtap::kernel::canary::run_probe,
        attempt: sealtap::kernel::run_tries,
        status: sealtap::kernel::status,
        detach: sealtap::kernel::detach,
    },
    doctor: sealtap::doctor::run,
};

fn main() -> ExitCode {
    sealtap::command::main(std::env::args_os(), &PARTS)
}
