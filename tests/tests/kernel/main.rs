//! The kernel observes: a command that knows of no proxy is captured all the same, and what goes
//! around is counted.
//!
//! Needs root and the kernel's hooks; run by `cargo xtask kernel`. Elsewhere every case says so and
//! none passes.

mod again;
mod around;
mod arrived;
mod attribution;
mod became;
mod captured;
mod clients;
mod counted;
mod deep;
mod ended;
mod first;
mod overlay;
mod refused;
mod shared;

use std::process::ExitCode;
use std::sync::Arc;

use sealtap_tests::coverage::{self, connections, level};
use sealtap_tests::gateway::Home;
use sealtap_tests::http1::head;
use sealtap_tests::launch::{CLEARED, Launch, Launched};
use sealtap_tests::suite;
use sealtap_tests::tls::Authority;
use sealtap_tests::upstream_http1::Upstream;
use serde_json::Value;

const REQUIRE: &str = "--kernel=require";

fn home() -> Arc<Home> {
    Arc::new(Home::new())
}

/// A server of `model.example` that answers with what it was sent, once `ready` says so: whoever asked is there
/// until then.
fn model(authority: &Authority, ready: impl Fn() + Send + Sync + 'static) -> Upstream {
    Upstream::answering_tls(authority.server_for("model.example"), move |session, request| {
        ready();
        let body = request.bytes().to_vec();
        let length = body.len().to_string();
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", length.as_str())]));
        session.send(body);
    })
}

/// Runs a client whose proxy variables are cleared.
fn run(launch: Launch, line: &[&str]) -> Launched {
    launch.run(CLEARED.iter().chain(line))
}

/// The one coverage that the log tells of, as the verifier has it.
fn covered(launched: &Launched) -> Value {
    coverage::one(&launched.home)
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($module:ident: $($name:ident),* $(,)?);* $(;)?) => {
            [$($((stringify!($name), $module::$name as fn())),*),*]
        };
    }
    let tests = tests![
        captured:
            a_client_without_proxy_variables_is_captured,
            the_same_client_goes_around_without_the_kernel,
            other_protocols_pass_and_are_recorded,
            both_families_arrive_where_they_were_meant_to;
        clients:
            curl_is_captured_whole_in_either_version,
            python_is_captured_whole,
            node_is_captured_whole;
        first:
            a_request_is_captured_however_its_bytes_come,
            what_stays_undecided_says_so,
            what_is_not_captured_passes_as_what_it_is,
            what_policy_refuses_goes_nowhere,
            a_captured_name_does_not_pass_behind_another,
            a_name_counts_whose_line_a_client_never_ends,
            what_only_begins_like_it_passes;
        overlay:
            what_is_on_an_overlay_of_its_own_has_no_digest;
        around:
            datagrams_go_around_and_are_counted,
            raw_packets_are_counted,
            frames_are_counted,
            programs_of_others_are_stated,
            a_server_of_the_command_answers_its_clients,
            answers_to_others_are_counted,
            answers_to_others_are_denied,
            listed_places_on_the_machine_are_left_alone,
            so_are_places_of_the_configuration;
        arrived:
            many_connections_at_once_arrive_where_they_were_meant_to,
            whoever_leaves_at_once_is_heard,
            nobody_borrows_the_gateway,
            the_command_does_not_reach_the_listener_by_itself;
        counted:
            events_that_find_no_room_are_counted,
            a_flood_past_the_smallest_ring_adds_up,
            each_statement_adds_up_under_load;
        deep:
            what_lies_too_deep_for_the_programs_is_refused;
        refused:
            each_statement_adds_up_without_membarrier;
        ended:
            a_killed_loader_is_told_of,
            nothing_stays_behind;
        attribution:
            who_made_a_call_is_sealed,
            one_connection_carries_many_exchanges,
            a_process_that_is_gone_is_unknown,
            many_processes_are_told_apart,
            what_was_refused_and_what_went_around_is_sealed,
            what_was_stopped_says_so,
            connections_of_a_killed_gateway_are_sealed_by_the_next,
            calls_to_the_front_are_carried_too;
        became:
            what_a_process_became_is_not_what_connected,
            whoever_becomes_another_at_once_is_named_rightly_or_not_at_all;
        again:
            whoever_has_the_gateways_port_next_is_not_the_gateway,
            nor_is_it_where_the_end_was_not_seen,
            whoever_has_a_clients_port_next_is_not_the_client,
            notes_are_counted_until_their_connections_are_over;
        shared:
            a_client_whose_port_another_uses_is_accepted,
            a_gateway_whose_port_another_uses_is_answered,
            upstreams_at_one_port_leave_no_counts;
    ];
    // Not every machine has Node or overlays; the others must be there.
    let missing = suite::without_the_kernel(&["curl", "python3"]);
    let node = missing.clone().or_else(|| suite::without_the_kernel(&["node"]));
    let overlays = missing.clone().or_else(overlay::missing);
    let tests = tests.map(|(name, test)| match name {
        "node_is_captured_whole" => (name, node.clone(), test),
        "what_is_on_an_overlay_of_its_own_has_no_digest" => (name, overlays.clone(), test),
        _ => (name, missing.clone(), test),
    });
    suite::each_with_its_own(&tests)
}
