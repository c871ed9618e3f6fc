//! The run as one file that can be handed on, with one answer disclosed, verified as a stranger would.

use std::fs::{self, File};
use std::io::BufReader;

use sealtap_common::bundle::{Part, RunState, TrustedKeys, verify};
use sealtap_common::keyring::trusted;
use sealtap_common::verify::Verdict;

use super::app::RUN;
use super::error::{DemoError, expect};
use super::place::Place;
use super::story::Story;
use crate::serve::bundle::make;

/// What is disclosed: the last answer, and nothing else.
const DISCLOSED: &str = "3/response-body";

/// Writes the run's bundle and verifies it under the keys that were written out.
pub(super) fn on(place: &Place, story: &mut Story<'_, '_>) -> Result<(), DemoError> {
    story.step("the run in one file, to hand on with its output (sealtap bundle)")?;
    let path = place.bundle();
    make(&place.data(), RUN, &[DISCLOSED.to_owned()], &path)?;
    let keys_path = place.keys();
    let mut keys = TrustedKeys::default();
    let text = fs::read_to_string(&keys_path).map_err(DemoError::file("read", &keys_path))?;
    trusted(&text, &mut keys)?;
    let file = File::open(&path).map_err(DemoError::file("open", &path))?;
    let report = verify(BufReader::new(file), &keys);
    let lines = report.lines();
    expect(report.verdict() == Verdict::Valid, "the bundle is valid", || lines.join("; "))?;
    let closed = matches!(report.state, RunState::Closed { .. });
    expect(closed, "the run was closed and recorded", || lines.join("; "))?;
    let shown: Vec<_> = report.parts.iter().filter(|(_, it)| it.disclosed > 0).collect();
    let only = matches!(shown.as_slice(), [(Part::ResponseBody, _)]);
    expect(only, "one answer is disclosed and nothing else", || lines.join("; "))?;
    let (headline, rest) = lines.split_first().map_or(("", [].as_slice()), |(h, r)| (h, r));
    story.good(headline)?;
    story.laid_out(&rest.join("\n"))
}
