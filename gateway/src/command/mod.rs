//! The commands of the `sealtap` binary: what they are called, what they take, how they end.
//!
//! In: the command line. Out: an exit code of [`Exit`], results on standard output, errors on
//! standard error as what, where and what to do. Each command is one file; what a command does
//! inside the gateway is handed in as [`Parts`], so that this folder depends on no stage.

pub mod bundle;
pub mod bypasses;
pub mod ca;
pub mod demo;
pub mod doctor;
mod exit;
mod failure;
pub mod kernel;
pub mod keys;
pub mod ls;
pub mod names;
mod output;
pub mod run;
pub mod runs;
pub mod serve;
pub mod show;
pub mod verify;
pub mod witness;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::{BufWriter, ErrorKind, Write, stdout};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use exit::Exit;
pub use failure::Failure;
pub use output::Output;

/// What every command ends in.
pub type Outcome = Result<Exit, Failure>;

/// The inner halves of the commands that need the whole gateway; `main` joins them.
#[derive(Clone, Copy)]
pub struct Parts {
    /// Runs the gateway until it is told to stop.
    pub serve: fn(serve::Start) -> Outcome,
    /// Runs one command under a gateway of its own.
    pub run: fn(run::Start) -> Outcome,
    /// Runs the demonstration.
    pub demo: fn(&demo::Arguments, &mut Output<'_>) -> Outcome,
    /// Lists exchanges.
    pub ls: fn(&ls::Arguments, &mut Output<'_>) -> Outcome,
    /// Shows one exchange.
    pub show: fn(&show::Arguments, &mut Output<'_>) -> Outcome,
    /// Runs a witness until it is told to stop.
    pub witness: fn(&witness::Arguments, &mut Output<'_>) -> Outcome,
    /// Lists names that were asked for.
    pub names: fn(&names::Arguments, &mut Output<'_>) -> Outcome,
    /// Lists what went around.
    pub bypasses: fn(&bypasses::Arguments, &mut Output<'_>) -> Outcome,
    /// Lists runs.
    pub runs: fn(&runs::Arguments, &mut Output<'_>) -> Outcome,
    /// Writes one run into one file.
    pub bundle: fn(&bundle::Arguments, &mut Output<'_>) -> Outcome,
    /// What the gateway starts for itself.
    pub kernel: kernel::Inner,
    /// Looks at what this machine allows.
    pub doctor: fn(&doctor::Arguments, &mut Output<'_>) -> Outcome,
}

/// Records the exact bytes of model and tool traffic, seals them, and lets anyone check it.
#[derive(Debug, Parser)]
#[command(
    name = "sealtap",
    version,
    about,
    arg_required_else_help = true,
    after_help = concat!(
        "Examples:\n",
        "  sealtap demo                      see the whole story, with no key and no network\n",
        "  sealtap run -- python agent.py    run one command and record its model traffic\n",
        "  sealtap serve                     listen on 127.0.0.1:4141 and record\n",
        "  sealtap ls                        what was recorded\n",
        "  sealtap bundle RUN -o run.tar     one run in one file, to hand on\n",
        "  sealtap doctor                    what this machine allows, and what to do about the rest\n",
        "  sealtap keys > keys.txt           the public keys, to give to whoever checks\n",
        "  sealtap verify sealtap-data --key keys.txt\n\n",
        "Exit codes:\n",
        "   0  done; verify: valid under a key that was given\n",
        "   1  failed, and the error says why; verify: not valid\n",
        "   2  verify: could not be decided (no key was given, or a file could not be read)\n",
        "  64  the command line or the config file was not understood; nothing was started\n",
        "  run: the command's own; 125 the gateway failed, 126 and 127 the command could not be run",
    )
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Arguments),
    Run(Box<run::Arguments>),
    Serve(serve::Alone),
    Ls(ls::Arguments),
    Show(show::Arguments),
    Runs(runs::Arguments),
    Names(names::Arguments),
    Bypasses(bypasses::Arguments),
    Bundle(bundle::Arguments),
    Keys(keys::Arguments),
    Ca(ca::Arguments),
    Verify(verify::Arguments),
    Witness(witness::Arguments),
    Doctor(doctor::Arguments),
    Kernel(kernel::Arguments),
}

/// Bytes gathered before they are written: `show --body` streams whole bodies.
const BUFFER: usize = 64 * 1024;

/// Runs the command that `arguments` (the program's name first) ask for.
pub fn main(arguments: impl IntoIterator<Item = OsString>, parts: &Parts) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Where the message cannot be printed, the exit code still tells.
            let _ = error.print();
            return match error.use_stderr() {
                true => Exit::Usage.into(),
                false => Exit::Done.into(),
            };
        }
    };
    // Not locked for as long as the command runs: `serve` prints from another thread.
    let mut standard = BufWriter::with_capacity(BUFFER, stdout());
    let mut output = Output::new(&mut standard, Output::standard_has_styles());
    let outcome = cli.command.run(parts, &mut output);
    let outcome = outcome.and_then(|exit| match standard.flush() {
        // A reader that went away had what it wanted; the exit code says the same as without it.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::writing(&error)),
        _ => Ok(exit),
    });
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.print(&mut anstream::stderr().lock());
            failure.exit().into()
        }
    }
}

impl Command {
    fn run(self, parts: &Parts, output: &mut Output<'_>) -> Outcome {
        match self {
            Self::Demo(arguments) => (parts.demo)(&arguments, output),
            Self::Run(arguments) => (parts.run)(arguments.start()?),
            Self::Serve(arguments) => (parts.serve)(arguments.start()?),
            Self::Ls(arguments) => (parts.ls)(&arguments, output),
            Self::Show(arguments) => (parts.show)(&arguments, output),
            Self::Runs(arguments) => (parts.runs)(&arguments, output),
            Self::Names(arguments) => (parts.names)(&arguments, output),
            Self::Bypasses(arguments) => (parts.bypasses)(&arguments, output),
            Self::Bundle(arguments) => (parts.bundle)(&arguments, output),
            Self::Keys(arguments) => keys::run(&arguments, output),
            Self::Ca(arguments) => ca::run(&arguments, output),
            Self::Verify(arguments) => verify::run(&arguments, output),
            Self::Witness(arguments) => (parts.witness)(&arguments, output),
            Self::Doctor(arguments) => (parts.doctor)(&arguments, output),
            Self::Kernel(arguments) => kernel::run(&arguments, &parts.kernel, output),
        }
    }
}
