//! Trust policies: a file is refused by line or gives one that more cosignatures never take a quorum from.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sealtap_common::policy::Policy;
use sealtap_fuzz::same;

fuzz_target!(|data: &[u8]| {
    let policy = match Policy::parse(data) {
        Ok(policy) => policy,
        Err(error) => {
            let lines = data.split(|byte| *byte == b'\n').count();
            assert!((0..=lines).contains(&error.line), "{error}");
            return;
        }
    };
    let all = policy.quorum_of(|_| true);
    assert!(all, "nobody could ever make this quorum");
    same(&policy.quorum_of(|_| false), &!policy.asks_for_witnesses());
    let mut reached = false;
    for count in 0..=policy.witnesses.len() {
        let there = &policy.witnesses[..count];
        let now = policy.quorum_of(|key| there.iter().any(|witness| witness.key == *key));
        assert!(now || !reached, "one more cosignature took the quorum away");
        reached = now;
    }
    same(&reached, &all);
    let mut bytes: Vec<[u8; 32]> = policy.witnesses.iter().map(|w| *w.key.bytes()).collect();
    bytes.sort_unstable();
    assert!(bytes.windows(2).all(|pair| pair[0] != pair[1]), "one key counts twice");
    // A comment and an empty line change nothing.
    let again = [b"# read again\n\n".as_slice(), data].concat();
    same(&Policy::parse(&again).as_ref(), &Ok(&policy));
});
