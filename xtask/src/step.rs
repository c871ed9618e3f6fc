//! Steps: run one after the other, tallied, summed up in one true line.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// What is wrong in the workspace at a root, one line each.
type Rule = Box<dyn FnOnce(&Path) -> Vec<String>>;

/// One thing to do.
pub(crate) struct Step {
    name: String,
    action: Action,
}

enum Action {
    /// A program; what it prints is passed on, and test results in it are counted.
    Program { program: OsString, arguments: Vec<OsString>, variables: Vec<(String, OsString)> },
    /// Programs that write into a file each, so many at a time; each one counts.
    Beside { at_a_time: usize, programs: Vec<Logged> },
    /// A rule of ours; what it finds wrong, one line each.
    Rule(Rule),
    /// Nothing: what it needs is not there. Counts neither as passed nor as failed.
    Nothing(String),
}

/// A program whose output, both streams, goes into a file of its own.
pub(crate) struct Logged {
    pub(crate) name: String,
    pub(crate) command: Command,
    pub(crate) log: PathBuf,
    /// What to tell of it in one line, from what it wrote.
    pub(crate) told: fn(&str) -> String,
}

impl Step {
    /// Runs programs, so many at a time.
    pub(crate) fn beside(name: impl Into<String>, at_a_time: usize, programs: Vec<Logged>) -> Self {
        Self { name: name.into(), action: Action::Beside { at_a_time, programs } }
    }

    /// Runs a program with arguments.
    pub(crate) fn program<A: AsRef<OsStr>>(
        name: impl Into<String>,
        program: impl Into<OsString>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let arguments = arguments.into_iter().map(|item| item.as_ref().to_owned()).collect();
        let action = Action::Program { program: program.into(), arguments, variables: Vec::new() };
        Self { name: name.into(), action }
    }

    /// Runs the cargo that runs us.
    pub(crate) fn cargo(name: impl Into<String>, arguments: &[&str]) -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        Self::program(name, cargo, arguments)
    }

    /// Checks a rule; the function gets the workspace's root and returns what is wrong.
    pub(crate) fn rule(
        name: impl Into<String>,
        check: impl FnOnce(&Path) -> Vec<String> + 'static,
    ) -> Self {
        Self { name: name.into(), action: Action::Rule(Box::new(check)) }
    }

    /// Says why something cannot be done here.
    pub(crate) fn skipped(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { name: name.into(), action: Action::Nothing(reason.into()) }
    }

    /// Adds an environment variable.
    pub(crate) fn with(mut self, variable: &str, value: impl Into<OsString>) -> Self {
        if let Action::Program { variables, .. } = &mut self.action {
            variables.push((variable.to_owned(), value.into()));
        }
        self
    }
}

/// The name of a test in the line by which a test run tells that it failed.
fn failed_test(line: &str) -> Option<&str> {
    // A suite with a `main` of its own says how long it took, behind the word.
    let (name, end) = line.strip_prefix("test ")?.split_once(" ... ")?;
    end.starts_with("FAILED").then_some(name)
}

/// Passed and failed: tests of a test run, else the step itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    /// Tests that were not run, of which nothing is known.
    skipped: u64,
}

impl Tally {
    fn of(good: bool) -> Self {
        Self { passed: u64::from(good), failed: u64::from(!good), skipped: 0 }
    }

    /// Adds what a line of a test run reports, if it is the one that sums up.
    fn count(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result: ") else { return };
        let number = |what: &str| {
            let (before, _) = counts.split_once(what)?;
            before.trim_end().rsplit(' ').next()?.parse::<u64>().ok()
        };
        self.passed += number("passed").unwrap_or_default();
        self.failed += number("failed").unwrap_or_default();
        self.skipped += number("ignored").unwrap_or_default();
    }

    /// What a program's end makes of its counted tests: without any it counts itself, and an end in
    /// failure that no counted test explains (a build error, a kill) is one failure more.
    fn ended(self, good: bool) -> Self {
        match (self, good) {
            // A run of which every test was skipped passes nothing.
            (Self { passed: 0, failed: 0, skipped: 1.. }, true) => self,
            (Self { passed: 0, failed: 0, .. }, _) => {
                Self { skipped: self.skipped, ..Self::of(good) }
            }
            (Self { failed: 0, .. }, false) => Self { failed: 1, ..self },
            _ => self,
        }
    }
}

/// Runs the steps in the workspace's root and sums them up.
pub(crate) fn run(root: &Path, steps: Vec<Step>) -> ExitCode {
    let mut sum = Tally::default();
    let mut table = Vec::new();
    let mut failures = Vec::new();
    for Step { name, action } in steps {
        let began = Instant::now();
        let tally = match action {
            Action::Program { program, arguments, variables } => {
                let mut command = Command::new(program);
                command.args(arguments).envs(variables).current_dir(root);
                say(&format!("== {name}: {}", shown(&command)));
                program_step(&mut command, |line| {
                    failures
                        .extend(failed_test(line).map(|test| format!("FAILED {test} ({name})")));
                    say(line);
                })
            }
            Action::Beside { at_a_time, programs } => {
                say(&format!("== {name}: {} programs, {at_a_time} at a time", programs.len()));
                let runs = beside(root, at_a_time, programs);
                let row = |(name, good, took): &(String, bool, Duration)| {
                    row(name, Tally::of(*good), *took)
                };
                table.extend(runs.iter().map(row));
                sum.passed += runs.iter().map(|(_, good, _)| u64::from(*good)).sum::<u64>();
                sum.failed += runs.iter().map(|(_, good, _)| u64::from(!*good)).sum::<u64>();
                continue;
            }
            Action::Rule(check) => {
                say(&format!("== {name}"));
                let wrong = check(root);
                wrong.iter().for_each(|line| say(line));
                Tally::of(wrong.is_empty())
            }
            Action::Nothing(reason) => {
                say(&format!("== {name}"));
                table.push(format!("SKIPPED {name}: {reason}"));
                continue;
            }
        };
        sum.passed += tally.passed;
        sum.failed += tally.failed;
        table.push(row(&name, tally, began.elapsed()));
    }
    say("== summary");
    table.iter().chain(&failures).for_each(|line| say(line));
    say(&format!("{} passed, {} failed", sum.passed, sum.failed));
    ExitCode::from(u8::from(sum.failed > 0))
}

/// A line of the table at the end.
fn row(name: &str, tally: Tally, took: Duration) -> String {
    let Tally { passed, failed, skipped } = tally;
    let word = if failed == 0 { "ok  " } else { "FAIL" };
    let took = took.as_secs_f32();
    let skipped = if skipped > 0 { format!(", {skipped} SKIPPED") } else { String::new() };
    format!("{word} {name:<30} {passed:>5} passed {failed:>3} failed {took:>7.1} s{skipped}")
}

/// Runs programs, so many at a time, and tells of each when it has ended: its name, whether that was
/// well, and how long it took.
fn beside(root: &Path, at_a_time: usize, programs: Vec<Logged>) -> Vec<(String, bool, Duration)> {
    let (waiting, ended) = (Mutex::new(programs.into_iter()), Mutex::new(Vec::new()));
    let work = || {
        while let Some(program) = waiting.lock().ok().and_then(|mut waiting| waiting.next()) {
            let began = Instant::now();
            let Logged { name, mut command, log, told } = program;
            let good = logged(command.current_dir(root), &log).unwrap_or_else(|error| {
                say(&format!("cannot run {name}: {error}"));
                false
            });
            let text = std::fs::read(&log).unwrap_or_default();
            let told = told(&String::from_utf8_lossy(&text));
            let word = if good { "ok  " } else { "FAIL" };
            say(&format!("{word} {name}: {told} ({})", log.display()));
            if let Ok(mut ended) = ended.lock() {
                ended.push((name, good, began.elapsed()));
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..at_a_time.max(1) {
            scope.spawn(work);
        }
    });
    ended.into_inner().unwrap_or_default()
}

/// Runs a program with both streams in a file; whether it ended well.
fn logged(command: &mut Command, log: &Path) -> io::Result<bool> {
    let file = File::create(log)?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    Ok(command.status()?.success())
}

/// Runs a program, reads its standard output and passes each line on to `say`.
fn program_step(command: &mut Command, mut say: impl FnMut(&str)) -> Tally {
    let mut child = match command.stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => {
            say(&format!("cannot run {}: {error}", command.get_program().display()));
            return Tally::of(false);
        }
    };
    let mut tally = Tally::default();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            tally.count(&line);
            say(&line);
        }
    }
    tally.ended(child.wait().is_ok_and(|status| status.success()))
}

/// A command as one would type it.
fn shown(command: &Command) -> String {
    let mut words: Vec<String> = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={:?}", name.display(), value?)))
        .collect();
    let program = Path::new(command.get_program());
    words.push(program.file_name().unwrap_or(program.as_os_str()).display().to_string());
    words.extend(command.get_args().map(|argument| argument.display().to_string()));
    words.join(" ")
}

fn say(line: &str) {
    // Cargo speaks on standard error; what came before must not appear after it.
    let _ = stderr().flush();
    let _ = writeln!(stdout(), "{line}").and_then(|()| stdout().flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_test_runs_are_added_up() {
        let mut tally = Tally::default();
        tally.count("test result: ok. 33 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out");
        tally.count("test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured");
        tally.count("test some::name ... ok");
        assert_eq!(tally, Tally { passed: 37, failed: 2, skipped: 1 });
        assert_eq!(tally.ended(false), tally);
    }

    #[test]
    fn failed_tests_are_known_by_name() {
        assert_eq!(failed_test("test some::name ... FAILED"), Some("some::name"));
        assert_eq!(failed_test("test own_main ... FAILED <0.3s>"), Some("own_main"));
        assert_eq!(failed_test("test some::name - should panic ... ok"), None);
        assert_eq!(failed_test("test result: FAILED. 4 passed; 2 failed; 0 ignored"), None);
    }

    #[test]
    fn a_failure_that_no_test_explains_counts() {
        let tally = |passed, failed, skipped| Tally { passed, failed, skipped };
        assert_eq!(Tally::default().ended(false), tally(0, 1, 0));
        assert_eq!(Tally::default().ended(true), tally(1, 0, 0));
        assert_eq!(tally(9, 0, 0).ended(false), tally(9, 1, 0));
        assert_eq!(tally(0, 0, 3).ended(true), tally(0, 0, 3));
        assert_eq!(tally(0, 0, 3).ended(false), tally(0, 1, 3));
        assert_eq!(tally(9, 0, 0).ended(true), tally(9, 0, 0));
    }

    #[test]
    fn programs_beside_each_other_keep_their_output_apart() {
        let folder = std::env::temp_dir().join(format!("xtask-beside-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let program = |name: &str, script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            let (name, log) = (name.to_owned(), folder.join(name));
            Logged { name, command, log, told: |text| text.trim().replace('\n', " ") }
        };
        // The first ends only when the second has begun.
        let wait = "while [ ! -s second ]; do sleep 0.01; done; echo one >&2";
        let programs = vec![program("first", wait), program("second", "echo two; exit 1")];
        let mut runs = beside(&folder, 2, programs);
        runs.sort();
        let ends: Vec<(&str, bool)> = runs.iter().map(|run| (run.0.as_str(), run.1)).collect();
        assert_eq!(ends, [("first", true), ("second", false)]);
        let read = |name| std::fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!((read("first"), read("second")), ("one\n".into(), "two\n".into()));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_programs_end_and_output_are_told_apart() {
        // Their results must not stand among those of the run that this test is part of.
        let quiet = |_: &str| ();
        let run = |script: &str| program_step(Command::new("sh").args(["-c", script]), quiet);
        assert_eq!(run("true"), Tally { passed: 1, failed: 0, skipped: 0 });
        assert_eq!(run("exit 3"), Tally { passed: 0, failed: 1, skipped: 0 });
        let said = "echo 'test result: ok. 2 passed; 0 failed;'";
        assert_eq!(run(said), Tally { passed: 2, failed: 0, skipped: 0 });
        assert_eq!(run(&format!("{said}; exit 1")), Tally { passed: 2, failed: 1, skipped: 0 });
        assert_eq!(program_step(&mut Command::new("no-such-program"), quiet).failed, 1);
    }
}
