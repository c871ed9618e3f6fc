//! What a minted leaf costs by itself: the authority is called in this process, one name after another.

use std::hint::black_box;
use std::io::{Error, Result};
use std::time::Instant;

use sealtap::accept::authority::{Authority, LeafName};
use sealtap::config::Ca;
use serde_json::json;

use super::Figures;
use crate::setting::Setting;

/// Measures `count` new names, then a hundred times as many calls for one that is kept.
pub(super) fn measure(setting: &Setting, count: u64) -> Result<Figures> {
    let home = tempfile::Builder::new().prefix("leaf-").tempdir_in(&setting.scratch)?;
    let authority =
        Authority::open(&home.path().join("keys"), &Ca::default()).map_err(Error::other)?;
    let name = |number: u64| {
        LeafName::parse(&format!("host-{number}.bench.example")).map_err(Error::other)
    };
    let (mut cold, count) = (Vec::new(), setting.count(count));
    for number in 0..count {
        let name = name(number)?;
        let began = Instant::now();
        black_box(authority.leaf(&name).map_err(Error::other)?);
        cold.push(began.elapsed().as_secs_f64() * 1e6);
    }
    cold.sort_by(f64::total_cmp);
    let (kept, calls) = (name(0)?, count * 100);
    let began = Instant::now();
    for _ in 0..calls {
        black_box(authority.leaf(black_box(&kept)).map_err(Error::other)?);
    }
    let cached = began.elapsed().as_secs_f64() * 1e6 / calls as f64;
    let mut figures = Figures::new();
    figures.insert("cold_us".to_owned(), json!(cold.get(cold.len() / 2)));
    figures.insert("cached_us".to_owned(), json!(cached));
    Ok(figures)
}
