//! A guest of a hub that sends anything, and writes anything into the words of its pool.
#![cfg(not(loom))]

mod hostile_guest;

use std::path::Path;

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 1500 }))]

    #[test]
    fn whatever_the_script_of_a_hostile_guest_is_it_is_answered(script in prop::collection::vec(any::<u8>(), 0..600)) {
        hostile_guest::play(&script);
    }
}

#[test]
#[cfg_attr(miri, ignore = "it reads files")]
fn every_script_of_a_guest_that_was_kept_is_answered() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/hostile_guest");
    let scripts = std::fs::read_dir(corpus).unwrap();
    let played = scripts.map(|script| {
        hostile_guest::play(&std::fs::read(script.unwrap().path()).unwrap());
    });
    assert!(played.count() > 20);
}
