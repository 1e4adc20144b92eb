//! A process on Linux that says anything to another, before there is a ring and while there is one.
#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

mod corpus;
mod hostile_socket;
mod linux_peer;
mod script;

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn whatever_a_process_says_is_answered(script in prop::collection::vec(any::<u8>(), 0..100)) {
        hostile_socket::play(&script);
    }
}

#[test]
fn a_process_that_says_nothing_wrong_is_understood() {
    for first in 0..4 {
        for end in 0..2 {
            hostile_socket::play(&[first, end]);
        }
    }
}

#[test]
fn every_script_of_a_process_that_was_kept_is_answered() {
    corpus::play_all("hostile_socket", hostile_socket::play);
}
