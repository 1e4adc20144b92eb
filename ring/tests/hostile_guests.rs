//! A guest of a hub that sends anything, and writes anything into the words of its pool.
#![cfg(not(loom))]

mod common;
mod corpus;
mod hostile_guest;
mod script;

use common::cases;
use proptest::prelude::*;

proptest! {
    #![proptest_config(cases(1500, 4))]

    #[test]
    fn whatever_the_script_of_a_hostile_guest_is_it_is_answered(script in prop::collection::vec(any::<u8>(), 0..600)) {
        hostile_guest::play(&script);
    }
}

#[test]
#[cfg_attr(miri, ignore = "it reads files")]
fn every_script_of_a_guest_that_was_kept_is_answered() {
    corpus::play_all("hostile_guest", hostile_guest::play);
}
