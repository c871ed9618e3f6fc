//! Rules of this project that no other tool knows, each with its reason.

mod files;
mod length;
mod purity;
mod words;

use crate::step::Step;

/// One step per rule.
pub(crate) fn steps() -> Vec<Step> {
    vec![
        Step::rule("rule: the verifier is pure", purity::check),
        Step::rule("rule: no unfinished work", words::check),
        Step::rule("rule: files stay readable", length::check),
        Step::rule("rule: the top level is fixed", files::top_level),
    ]
}
