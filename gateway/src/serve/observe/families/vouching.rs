//! The families of those who vouch for the log: witnesses, by name, and the timestamp authority.

use prometheus_client::registry::Unit;

use super::encode::Labels;
use super::{Families, seconds};
use crate::seal::vouching::{Account, Vouching};

/// Names and helps: leaves, answers, failures, age.
type Named = [(&'static str, &'static str); 4];

const WITNESS: Named = [
    ("sealtap_witness_size", "Leaves of the last checkpoint that each witness cosigned"),
    ("sealtap_witness_cosignatures", "Checkpoints that each witness cosigned"),
    ("sealtap_witness_failures", "Times that each witness was asked in vain"),
    (
        "sealtap_witness_age",
        "Since each witness last cosigned; since the start, before it ever did",
    ),
];

const TIMESTAMP: Named = [
    ("sealtap_timestamp_size", "Leaves of the last checkpoint that was dated"),
    ("sealtap_timestamps", "Timestamp tokens received"),
    ("sealtap_timestamp_failures", "Times that the timestamp authority was asked in vain"),
    ("sealtap_timestamp_age", "Since the last token; since the start, where there is none"),
];

impl Families {
    /// Those who vouch for the log, where the configuration names any.
    pub(super) fn vouching(&mut self, vouching: &Vouching) {
        let accounts: Vec<(Labels, Account)> = vouching
            .witnesses
            .iter()
            .map(|witness| (vec![("witness", witness.name.clone())], witness.account()))
            .collect();
        if !accounts.is_empty() {
            self.accounts(&WITNESS, &accounts);
        }
        if let Some(authority) = &vouching.authority {
            self.accounts(&TIMESTAMP, &[(Vec::new(), authority.account())]);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "as for every gauge")]
    fn accounts(&mut self, named: &Named, of: &[(Labels, Account)]) {
        let gauges = |value: fn(&Account) -> f64| -> Vec<(Labels, f64)> {
            of.iter().map(|(labels, account)| (labels.clone(), value(account))).collect()
        };
        let counts = |value: fn(&Account) -> u64| -> Vec<(Labels, u64)> {
            of.iter().map(|(labels, account)| (labels.clone(), value(account))).collect()
        };
        let [size, answers, failures, age] = *named;
        self.gauges(size.0, None, size.1, gauges(|account| account.size as f64));
        self.counters(answers.0, None, answers.1, counts(|account| account.answers));
        self.counters(failures.0, None, failures.1, counts(|account| account.failures));
        let ages = gauges(|account| seconds(account.age()));
        self.gauges(age.0, Some(Unit::Seconds), age.1, ages);
    }
}
