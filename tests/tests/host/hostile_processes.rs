//! A process that asks for anything in its submission ring.

use proptest::prelude::*;

use crate::corpus;
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
    corpus::play_all("hostile_process", play);
}
