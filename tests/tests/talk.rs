//! Random programs of processes that send one another capabilities of all kinds, compared with a model
//! of objects and messages: rights only shrink, nobody has what nobody gave it, messages come in order
//! and whole, and nothing is lost or left behind (I4, I5, I9, I11).

use model::talk::{Step, execute, search};
use model::{Program, Tally, steps_to_run};

/// Runs a program that is written as text.
fn runs(text: &str) {
    let program: Program<Step> = text.parse().expect("it is a program");
    execute(&program, 1, &mut Tally::new());
}

fn agrees(seed: u64, length: usize) {
    let steps = steps_to_run(60_000) / 2;
    let mut tally = Tally::new();
    search(seed, steps, length, |program, seed| {
        execute(program, seed, &mut tally);
    });
    for name in Step::NAMES {
        let often = tally.get(&(name, "Ok")).copied().unwrap_or(0);
        assert!(
            often >= (steps / 1000).max(1),
            "{name} succeeded {often} times: {tally:?}"
        );
    }
}

#[test]
fn messages_and_what_they_carry_are_what_the_model_says() {
    agrees(1, 40);
}

#[test]
fn they_are_after_many_steps() {
    agrees(2, 300);
}

#[test]
fn what_was_moved_comes_back_from_an_end_that_is_dropped() {
    runs(
        "
        region process=0 handle=2
        channel process=0 first=3 second=4 capacity=2
        send process=0 end=0 word=7 first=Move:2 second=Move:3
        exit process=1
        send process=0 end=1 word=8 first=Move:2 second=Move:3
        receive process=2 end=0 first=2 second=3
        poll process=2 handle=2
        ",
    );
}

#[test]
fn the_handle_of_what_was_revoked_on_the_way_stays_with_its_sender() {
    runs(
        "
        send process=1 end=0 word=0 first=Share:1 second=none
        receive process=0 end=0 first=2 second=2
        send process=0 end=1 word=218 first=none second=Move:2
        revoke process=1 handle=1
        receive process=2 end=0 first=2 second=2
        ",
    );
}
