//! Enforce: what cannot be led to the gateway is denied, the command cannot undo that, and it stays so when
//! gateway or loader are killed.
//!
//! Needs root and the kernel's hooks; run by `cargo xtask kernel`. Elsewhere every case says so and none
//! passes. Each case runs once more without `--enforce`, or beside what is denied, to show that it can fail.

mod below;
mod calls;
mod cgroup;
mod ends;
mod hidden;
mod inherited;
mod killed;
mod left;
mod rights;
mod sockets;

use std::process::ExitCode;
use std::sync::Arc;

use sealtap_tests::coverage::{self, connections, level, state};
use sealtap_tests::gateway::Home;
use sealtap_tests::launch::{Launch, Launched};
use sealtap_tests::suite;
use serde_json::Value;

pub(crate) const OBSERVE: &str = "--kernel=require";

/// The variable that other suites leave the kernel out by must not speak here.
pub(crate) const ENFORCE: [&str; 2] = [OBSERVE, "--enforce"];

pub(crate) fn home() -> Arc<Home> {
    Arc::new(Home::new())
}

pub(crate) fn modes() -> [(&'static [&'static str], bool); 2] {
    [(&ENFORCE, true), (&ENFORCE[..1], false)]
}

pub(crate) fn python(home: &Arc<Home>, flags: &[&str], script: &str) -> Launched {
    Launch::new(home, flags).run(["python3", "-c", script])
}

/// The last coverage that the log tells of, as the verifier has it.
pub(crate) fn covered(home: &Home) -> Value {
    coverage::all(home).pop().expect("a coverage")
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($part:ident::$name:ident),* $(,)?) => {
            [$((stringify!($name), $part::$name as fn())),*]
        };
    }
    let tests = tests![
        sockets::datagrams_are_denied_and_the_client_falls_back,
        sockets::sockets_that_no_hook_sees_are_refused,
        sockets::calls_by_another_table_end_the_program,
        rights::children_inherit_and_a_setuid_program_gains_nothing,
        rights::the_command_may_run_as_somebody_else,
        cgroup::the_command_does_not_leave_its_cgroup,
        killed::a_killed_gateway_leaves_the_fence_closed,
        killed::a_killed_loader_leaves_the_fence_closed,
        killed::a_stopped_loader_is_noticed,
        killed::a_pin_that_is_taken_away_ends_the_command,
        killed::maps_that_are_written_to_end_the_command,
        ends::what_the_command_leaves_running_is_ended,
        ends::nothing_stays_behind,
        rights::the_loader_has_no_more_than_it_needs,
        ends::the_terminal_and_signals_are_the_commands,
        ends::what_cannot_be_enforced_is_not_started,
        hidden::the_record_and_what_the_kernel_runs_are_out_of_reach,
        hidden::a_namespace_of_users_shows_no_more,
        hidden::a_command_does_not_begin_in_the_record,
        hidden::processes_outside_are_out_of_reach,
        rights::the_gateway_has_no_capability,
        rights::files_of_somebody_else_are_written_and_that_is_said,
        rights::the_canary_has_no_more_than_it_needs,
        rights::what_cannot_be_read_of_a_process_is_said,
        sockets::what_is_denied_at_launch_is_stated_of_an_ordinary_user,
        ends::a_loader_with_a_ring_of_its_own_is_listed,
        ends::what_is_missing_is_named,
        left::closed_files_of_its_cgroup_keep_nothing_running,
        left::the_command_does_not_change_its_cgroup,
        left::what_cannot_be_ended_stays_cut_off,
        left::cgroups_that_it_made_are_taken_away,
        calls::calls_upon_others_and_namespaces_are_refused,
        calls::signals_of_limits_end_neither_gateway_nor_loader,
        calls::another_user_cannot_read_the_keys_and_that_is_said,
        inherited::descriptors_of_the_caller_are_closed,
        inherited::standard_descriptors_are_bytes_and_no_more,
        inherited::unix_streams_are_carried,
        below::memberships_that_the_kernel_would_report_are_refused,
    ];
    let missing = suite::without_the_kernel(&["python3", "setpriv", "unshare", "nsenter", "curl"]);
    let tunnels = missing.clone().or_else(below::without_tunnels);
    let with = tests.into_iter().map(|(name, test)| (name, missing.clone(), test));
    let devices = tests![below::devices_that_send_are_refused];
    let devices = devices.into_iter().map(|(name, test)| (name, tunnels.clone(), test));
    suite::each_with_its_own(&with.chain(devices).collect::<Vec<_>>())
}
