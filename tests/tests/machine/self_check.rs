//! The kernel checks itself in its machine, and what it says when something is wrong.

use crate::machines::{guest, said};
use handover_tests::build::Profile;
use handover_tests::machine::{InstructionCount, Machine};
use handover_tests::options::Job;
use handover_tests::qemu::{Ending, Run};
use handover_tests::symbolise::Symboliser;

/// Boots a kernel that checks itself instead of starting programs.
fn check_itself(profile: Profile, machine: Machine, word: &str) -> Run {
    let machine = Machine {
        kernel_words: vec![word.to_owned()],
        ..machine
    };
    crate::machines::boot(profile, &machine, b"", &Job::SelfCheck)
}

#[test]
fn the_platform_passes_its_self_check_on_one_to_eight_cpus() {
    for cpus in [1, 2, 8] {
        let machine = Machine {
            cpus,
            ..Machine::default()
        };
        let run = check_itself(Profile::Guest, machine, "selfcheck");
        let said = said(&run);
        assert!(run.passed_self_check(), "{said}");
    }
}

/// With instructions as the clock, and in parallel.
#[test]
fn four_cpus_that_all_take_away_at_once_with_interrupts_off_all_go_on() {
    for instruction_count in [InstructionCount::On, InstructionCount::Off] {
        let machine = Machine {
            cpus: 4,
            instruction_count,
            ..Machine::default()
        };
        let run = check_itself(Profile::GuestChecked, machine, "selfcheck=shootdown");
        let said = said(&run);
        assert!(run.passed_self_check(), "{said}");
    }
}

#[test]
fn a_kernel_stack_that_overflows_is_a_panic_that_says_so() {
    let run = check_itself(Profile::Guest, Machine::default(), "selfcheck=guard");
    let said = said(&run);
    assert_eq!(run.ending, Ending::Status(35), "{said}");
    assert!(said.contains("stack overflow"), "{said}");
}

#[test]
fn a_write_to_a_free_frame_is_a_panic_that_names_the_frame() {
    let run = check_itself(
        Profile::GuestChecked,
        Machine::default(),
        "selfcheck=canary",
    );
    let said = said(&run);
    assert_eq!(run.ending, Ending::Status(35), "{said}");
    let canary = "was written while it was free: its byte 291 is 0x5a";
    assert!(said.contains(canary) && said.contains("Frame("), "{said}");
}

#[test]
fn a_panic_names_its_functions() {
    let run = check_itself(Profile::Guest, Machine::default(), "selfcheck=panic");
    let said = said(&run);
    assert_eq!(run.ending, Ending::Status(35), "{said}");
    let symbols = Symboliser::new(&guest(Profile::Guest).kernel);
    let named: Vec<String> = run
        .transcript
        .lines()
        .iter()
        .filter_map(|line| symbols.line(line))
        .collect();
    assert!(
        named.iter().any(|line| line.contains("selfcheck")),
        "{named:?}\n{said}"
    );
}
