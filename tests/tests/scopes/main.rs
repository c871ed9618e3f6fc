//! `serve` watches scopes of its configuration, as an ordinary user.
//!
//! Needs root and the kernel's hooks; run by `cargo xtask kernel`. Elsewhere every case says so and
//! none passes.

mod around;
mod canary;
mod cgroup;
mod coming;
mod doctor;
mod enforced;
mod loader;
mod names;
mod rewritten;
mod rights;
mod tables;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::ExitCode;
use std::sync::Arc;

use rustix::process::Pid;
use sealtap_tests::coverage::{all as covered, state};
use sealtap_tests::gate::{PATIENCE, poll};
use sealtap_tests::gateway::{Gateway, Home, Options};
use sealtap_tests::http1::head;
use sealtap_tests::suite;
use sealtap_tests::upstream_http1::Upstream;

use self::cgroup::Cgroup;

/// An ordinary user that every machine has, and its number.
pub(crate) const USER: (&str, u32) = ("nobody", 65_534);

/// A home that another user may enter.
pub(crate) fn home() -> Arc<Home> {
    let home = Home::new();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    Arc::new(home)
}

/// Without a canary, whose connections would be counted among the others.
pub(crate) fn config(cgroup: &Cgroup, more: &str) -> String {
    with_canary(cgroup, "none", more)
}

pub(crate) fn with_canary(cgroup: &Cgroup, canary: &str, more: &str) -> String {
    format!(
        "[kernel]\nmode = \"observe\"\nscopes = [\"/{}\"]\ninterval = \"500ms\"\n\
         canary = \"{canary}\"\n{more}",
        cgroup.name
    )
}

pub(crate) fn serve(cgroup: &Cgroup, more: &str) -> Gateway {
    Options::default()
        .config(config(cgroup, more))
        .argument(format!("--user={}", USER.0))
        .start_in(home())
}

/// Watches these scopes, with no canary.
pub(crate) fn scopes(scopes: &[String]) -> Options {
    let list: Vec<String> = scopes.iter().map(|scope| format!("\"{scope}\"")).collect();
    let text = format!(
        "[kernel]\nmode = \"observe\"\nscopes = [{}]\ninterval = \"500ms\"\ncanary = \"none\"\n",
        list.join(",")
    );
    Options::default().config(text).argument(format!("--user={}", USER.0))
}

pub(crate) fn serve_scopes(list: &[String]) -> Gateway {
    scopes(list).start_in(home())
}

/// A server that says which path it was asked for.
pub(crate) fn model() -> Upstream {
    model_once(|| ())
}

/// The same, once `ready` says so.
pub(crate) fn model_once(ready: impl Fn() + Send + Sync + 'static) -> Upstream {
    Upstream::answering(move |session, request| {
        ready();
        let body = request.head.target().to_vec();
        let length = body.len().to_string();
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", length.as_str())]));
        session.send(body);
    })
}

pub(crate) const CURL: &str = "curl -sS --noproxy '*' --max-time 20 \"$0\"";

/// A line of the log's messages.
pub(crate) fn wait_for(gateway: &Gateway, said: &str) {
    poll(said, || gateway.stderr().contains(said).then_some(()));
}

/// A line without colours.
pub(crate) fn plain(line: &str) -> String {
    let mut plain = String::new();
    let mut parts = line.split('\u{1b}');
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    plain
}

pub(crate) fn healthz(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("reads can time out");
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .expect("the request leaves");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the answer comes");
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}

/// A process that the gateway started for itself.
pub(crate) fn helper(gateway: &Gateway, part: &str) -> Pid {
    let found = fs::read_dir(format!("/proc/{}/task", gateway.pid())).expect("it runs").flatten();
    let children = found.filter_map(|t| fs::read_to_string(t.path().join("children")).ok());
    let all: String = children.collect();
    let loader = all.split_ascii_whitespace().find(|child| {
        let line = fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap_or_default();
        line.contains(&format!("kernel\0{part}"))
    });
    Pid::from_raw(loader.expect("a loader").parse().expect("a number")).expect("a process")
}

/// Every thread of a process, as proc_pid_status(5) has them.
pub(crate) fn threads(process: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("status")).ok()).collect()
}

pub(crate) fn field<'a>(status: &'a str, name: &str) -> Vec<&'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {status}")).split_ascii_whitespace().collect()
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($theme:ident::$name:ident),* $(,)?) => { [$((stringify!($name), $theme::$name as fn())),*] };
    }
    let tests = tests![
        rights::a_scope_is_captured_by_a_gateway_without_privileges,
        rights::all_goes_on_after_privileges_are_gone,
        rights::ports_below_1024_are_listened_on,
        rights::scopes_that_hold_the_gateway_are_refused,
        coming::what_is_in_no_scope_is_left_alone,
        coming::scopes_that_come_and_go_are_followed,
        coming::a_scope_that_comes_to_hold_the_gateway_ends_coverage,
        coming::a_folder_that_is_closed_opens_nothing,
        coming::a_closed_folder_elsewhere_is_passed_over,
        coming::a_connection_from_before_the_start_is_stated,
        coming::what_comes_late_is_stated,
        coming::many_cgroups_come_and_go,
        tables::a_long_table_is_counted_to_its_end,
        tables::tables_that_are_too_long_keep_nobody_waiting,
        around::what_goes_around_is_told_of,
        around::places_that_are_allowed_are_reached_directly,
        around::a_socket_is_not_left_alone_for_where_it_sent_before,
        around::a_run_says_what_goes_around_as_it_happens,
        loader::a_killed_loader_is_seen_in_healthz,
        loader::a_signal_to_all_processes_ends_coverage_in_order,
        loader::nothing_stays_behind,
        rewritten::a_scope_that_is_taken_from_the_programs_ends_coverage,
        rewritten::whatever_is_written_to_the_programs_maps_ends_coverage,
        rewritten::what_nobody_wrote_to_goes_on,
        loader::large_executables_keep_nobody_waiting,
        names::names_are_sealed_and_go_when_they_are_old,
        canary::a_canary_tries_each_way_out_and_is_sealed,
        canary::a_canary_that_is_back_is_watched_no_more,
        canary::a_canary_that_is_out_keeps_nobody_waiting,
        canary::a_dead_network_is_no_closed_one,
        doctor::each_program_is_tried_and_well,
        enforced::what_cannot_be_led_is_denied_in_enforce_mode,
        enforced::a_killed_gateway_leaves_its_scopes_closed,
        enforced::a_gateway_that_starts_again_takes_over,
        enforced::what_is_not_its_own_is_not_taken_over,
        enforced::what_is_detached_while_the_disk_is_full_is_noticed,
    ];
    suite::main(&tests, suite::without_the_kernel(&["curl", "python3"]))
}
