//! The kernel programs: built to the byte as they are committed, or written anew.
//!
//! The object is committed, so that a build of the product needs no tools for the kernel; this
//! chore makes it again from source and compares. Paths of the machine are mapped away, and what
//! was for debuggers alone is stripped, so that every folder and machine gives the same bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::step::Step;

/// The linker that turns LLVM's bitcode into a kernel object, and the LLVM it is built with: the one
/// of the pinned toolchain.
const LINKER: &str = "0.13.0";
const LLVM: &str = "22";
/// Where Debian keeps it.
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";
/// What is committed.
const OBJECT: &str = "ebpf/sealtap.bpf.o";
const TARGET: &str = "bpfel-unknown-none";

/// Builds the object and compares it with the committed one, or writes it there.
pub(crate) fn steps(root: &Path, write: bool) -> Vec<Step> {
    let strip = Path::new(LLVM_PREFIX).join("bin/llvm-strip");
    if !strip.exists() {
        let missing = format!("{} is not there; Debian has it in llvm-{LLVM}-dev", strip.display());
        return vec![Step::rule("ebpf", |_| vec![missing])];
    }
    let mut steps = Vec::new();
    let sources = sysroot().map(|root| root.join("lib/rustlib/src/rust"));
    if !sources.as_ref().is_some_and(|sources| sources.exists()) {
        steps.push(Step::program("rust-src", "rustup", ["component", "add", "rust-src"]));
    }
    let tools = root.join("target/tools");
    let linker = tools.join("bin/bpf-linker");
    if !linker.exists() {
        steps.push(install(&tools));
    }
    let place = root.join("target/ebpf");
    steps.push(build(&place, &linker, sources.as_deref()));
    let (built, stripped) =
        (place.join(TARGET).join("release/sealtap-ebpf"), place.join("sealtap.bpf.o"));
    // What is left has the types of maps and programs, by which the kernel names things.
    let arguments = [Path::new("--strip-debug"), Path::new("-o"), &stripped, &built];
    steps.push(Step::program("strip ebpf", strip, arguments));
    steps.push(Step::rule("the committed object", move |root| compare(root, &stripped, write)));
    steps
}

fn install(tools: &Path) -> Step {
    let tools = tools.display().to_string();
    let features = format!("llvm-{LLVM}");
    let package = ["install", "bpf-linker", "--version", LINKER, "--locked", "--root", &tools];
    let features = ["--no-default-features", "--features", &features];
    let arguments: Vec<&str> = package.into_iter().chain(features).collect();
    Step::cargo("install bpf-linker", &arguments)
        .with("LLVM_PREFIX", LLVM_PREFIX)
        .with("CARGO_PROFILE_RELEASE_LTO", "off")
        .with("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        // What is installed does not go by the settings of this folder.
        .with("CARGO_NET_RETRY", "8")
}

fn build(place: &Path, linker: &Path, sources: Option<&Path>) -> Step {
    let place = place.display().to_string();
    let package = ["build", "--package", "sealtap-ebpf", "--release", "--locked"];
    let target = ["--target", TARGET, "-Z", "build-std=core", "--target-dir", &place];
    let arguments: Vec<&str> = package.into_iter().chain(target).collect();
    let mut flags = vec![
        "-Clink-arg=--btf".to_owned(),
        "-Cdebuginfo=2".to_owned(),
        // Not by its path: cargo's flags go into the names of symbols, and these into their order.
        "-Zremap-cwd-prefix=/sealtap".to_owned(),
        "--cfg=bpf_target_arch=\"x86_64\"".to_owned(),
    ];
    let registry = home().map(|home| home.join("registry/src"));
    let known = [(registry.as_deref(), "/registry"), (sources, "/rust")];
    for (path, name) in known {
        flags.extend(path.map(|path| format!("--remap-path-prefix={}={name}", path.display())));
    }
    // The pinned toolchain builds `core` for the kernel's target when it is told that it may.
    Step::cargo("build ebpf", &arguments)
        .with("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        // Units are put together in an order that differs from folder to folder, and with it the
        // numbers of types.
        .with("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .with("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", linker)
        .with("RUSTC_BOOTSTRAP", "1")
}

fn compare(root: &Path, built: &Path, write: bool) -> Vec<String> {
    let committed = root.join(OBJECT);
    let built = match fs::read(built) {
        Ok(built) => built,
        Err(error) => return vec![format!("cannot read {}: {error}", built.display())],
    };
    if write {
        let written = fs::write(&committed, &built);
        return written
            .err()
            .map(|error| format!("cannot write {OBJECT}: {error}"))
            .into_iter()
            .collect();
    }
    match fs::read(&committed) {
        Ok(bytes) if bytes == built => Vec::new(),
        Ok(_) => vec![format!(
            "{OBJECT} is not what its source gives: `cargo xtask ebpf --write`, then look at the change"
        )],
        Err(error) => vec![format!("cannot read {OBJECT}: {error}")],
    }
}

fn sysroot() -> Option<PathBuf> {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output().ok()?;
    Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
}

/// Where cargo keeps its registry.
fn home() -> Option<PathBuf> {
    let set = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    set.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))
}
