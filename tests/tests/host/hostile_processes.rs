//! A process that asks for anything in its submission ring.

use std::path::Path;

use proptest::prelude::*;

use crate::hostile_process::play;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_the_script_of_a_hostile_process_is_it_is_answered(script in prop::collection::vec(any::<u8>(), 0..600)) {
        play(&script);
    }
}

#[test]
fn every_script_of_a_process_that_was_kept_is_answered() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ring/fuzz/corpus/hostile_process");
    let scripts = std::fs::read_dir(corpus).unwrap();
    let played = scripts.map(|script| {
        play(&std::fs::read(script.unwrap().path()).unwrap());
    });
    assert!(played.count() > 20);
}
