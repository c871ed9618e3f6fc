//! Adversaries: each known way around the gateway, tried for real.
//!
//! Each way has a control, the same try where no kernel programs are, which must reach the target: a
//! dead network passes for nothing. What then becomes of it is read from the sealed leaves of the log
//! by the verifier: stopped, or seen and counted, or listed as not covered. Needs root and the
//! kernel's hooks; run by `cargo xtask kernel`. Elsewhere every case says so and none passes.

mod broken;
mod device;
mod flood;
mod place;
mod ways;

use std::process::ExitCode;

use sealtap_tests::suite;

use crate::ways::{Mode, WAYS};

const MODES: [(Mode, &str); 2] = [(Mode::Observe, "observed"), (Mode::Enforce, "enforced")];

type Test = Box<dyn Fn() + Send + Sync>;

fn main() -> ExitCode {
    // Where the probes are ready, nothing compiles them.
    let needed: &[&str] = match place::ready() {
        Some(_) => &["python3"],
        None => &["python3", "cc"],
    };
    let missing = suite::without_the_kernel(needed);
    let mut tests: Vec<(String, Option<String>, Test)> = Vec::new();
    for (mode, word) in MODES {
        for way in WAYS {
            let missing = missing.clone().or_else(|| way.missing());
            let name = format!("{}_when_{word}", way.name);
            tests.push((name, missing, Box::new(move || ways::hold(way, mode))));
        }
    }
    macro_rules! and {
        ($($name:ident),* $(,)?) => {
            $(tests.push((
                stringify!($name).to_owned(), missing.clone(), Box::new(broken::$name)
            ));)*
        };
    }
    macro_rules! in_both_modes {
        ($($part:ident::$name:ident),* $(,)?) => {
            $(for (mode, word) in MODES {
                let name = format!("{}_when_{word}", stringify!($name));
                tests.push((name, missing.clone(), Box::new(move || $part::$name(mode))));
            })*
        };
    }
    in_both_modes![
        broken::the_same_load_is_counted_whole_where_nothing_is_done,
        broken::a_link_that_is_detached_under_load_ends_coverage,
        broken::a_program_that_is_replaced_under_load_ends_coverage,
        broken::a_loader_that_is_killed_under_load_ends_coverage,
        broken::the_gateways_own_port_leads_nowhere,
        device::a_listed_place_is_not_one_by_a_device,
        flood::a_flood_of_a_small_ring_is_counted,
        flood::the_same_flood_is_told_whole_where_there_is_room,
        flood::each_statement_adds_up_past_a_small_ring,
    ];
    and![
        a_gateway_that_is_killed_under_load_says_nothing_of_later,
        a_task_that_is_moved_in_is_seen,
        a_socket_of_a_task_that_is_moved_out_is_seen,
        what_one_command_does_is_not_counted_for_another,
    ];
    let filters = missing.or_else(broken::without_filters_at_devices);
    tests.push((
        "a_filter_at_a_device_that_is_left_goes_with_detach".to_owned(),
        filters,
        Box::new(broken::a_filter_at_a_device_that_is_left_goes_with_detach),
    ));
    let tests: Vec<_> =
        tests.iter().map(|(name, missing, test)| (name.as_str(), missing.clone(), test)).collect();
    suite::each_with_its_own(&tests)
}
