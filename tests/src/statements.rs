//! Statements: the numbers of the one coverage of a log, added up without the product's verifier.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::leaves;

/// The numbers of a statement in one unit, by their names.
pub type Numbers = BTreeMap<String, u64>;

/// What each of that was seen became, exactly one of these.
const PLACES: [&str; 6] =
    ["via_gateway", "loopback", "allowed", "bypass_denied", "bypass_passed", "unparsable"];

/// What all statements of a log come to in one unit.
pub struct Sums {
    /// The numbers of the last.
    pub last: Numbers,
    /// How many statements there are.
    pub statements: usize,
    /// In how many of them more events were lost than in the one before.
    pub lossy: usize,
}

/// Holds each statement in a unit against itself, the one before it, and the leaves that tell of what went
/// around.
///
/// # Panics
/// If one does not add up, or there is none.
pub fn add_up(log: &Path, unit: &str) -> Sums {
    let word = if unit == "packets" { "packet" } else { "connect" };
    let mut sums = Sums { last: Numbers::new(), statements: 0, lossy: 0 };
    let mut told: BTreeMap<String, u64> = BTreeMap::new();
    for leaf in leaves::all(log) {
        match leaf["kind"].as_str().expect("a kind") {
            "bypass" if leaf["unit"] == word => {
                let verdict = leaf["verdict"].as_str().expect("a verdict").to_owned();
                *told.entry(verdict).or_default() += leaf["count"].as_u64().expect("a number");
            }
            "coverage-heartbeat" | "coverage-closed" => {
                let now = numbers(&leaf, unit);
                let of = |names: &[&str]| names.iter().map(|name| now[*name]).sum::<u64>();
                assert_eq!(now["seen"], of(&PLACES), "{unit}: {leaf}");
                let around = of(&["bypass_denied", "bypass_passed"]);
                assert_eq!(around, of(&["events_read", "events_lost"]), "{unit}: {leaf}");
                assert_eq!(
                    now["events_read"],
                    told.values().sum::<u64>(),
                    "{unit}: {told:?} {leaf}"
                );
                for (verdict, count) in &told {
                    assert!(*count <= now[&format!("bypass_{verdict}")], "{told:?} {leaf}");
                }
                let before = std::mem::replace(&mut sums.last, now);
                for (name, number) in &before {
                    assert!(sums.last[name] >= *number, "{unit} {name} went back: {leaf}");
                }
                let lost = before.get("events_lost").copied().unwrap_or_default();
                sums.lossy += usize::from(sums.last["events_lost"] > lost);
                sums.statements += 1;
            }
            _ => {}
        }
    }
    assert!(sums.statements > 0, "nothing is stated");
    sums
}

fn numbers(statement: &Value, unit: &str) -> Numbers {
    let numbers = statement[unit].as_object().unwrap_or_else(|| panic!("no {unit}: {statement}"));
    let number = |value: &Value| value.as_u64().expect("a number");
    numbers.iter().map(|(name, value)| (name.clone(), number(value))).collect()
}
