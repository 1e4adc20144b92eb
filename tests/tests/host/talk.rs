//! Random programs of processes that derive, narrow and revoke capabilities of several kinds, send them to one
//! another and offer them over all that leads to another process, compared with a model of objects, messages
//! and tokens: rights only shrink, nobody has what nobody gave it, a token is good once for whom it is meant,
//! messages come in order and whole, and nothing is lost or left behind (I4, I5, I6, I9, I11).

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
    const WAYS: [&str; 4] = [
        "over a process",
        "over a channel",
        "over a ring",
        "over a hub",
    ];
    for name in Step::NAMES.iter().chain(&WAYS) {
        let often = tally.get(&(name, "Ok")).copied().unwrap_or(0);
        assert!(
            often >= (steps / 2000).max(1),
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

#[test]
fn a_move_does_not_go_over_what_it_would_revoke() {
    runs(
        "
        know process=0 of=2 handle=6
        channel process=0 first=4 second=5 capacity=2
        send process=0 end=4 word=0 first=Share:6 second=none
        receive process=0 end=5 first=2 second=2
        grant process=0 handle=6 via=handle:2 token=0 mode=Move rights=GRANT+MOVE+DUPLICATE+REVOKE+SIGNAL+WAIT+MANAGE flags=REVOKE_OTHERS until=never
        grant process=0 handle=6 via=handle:6 token=0 mode=Move rights=GRANT+MOVE+DUPLICATE+REVOKE+SIGNAL+WAIT+MANAGE flags=REVOKE_OTHERS until=never
        ",
    );
}

#[test]
fn it_does_when_its_sender_receives_it() {
    runs(
        "
        notification process=1 handle=5
        send process=1 end=0 word=0 first=Share:5 second=none
        receive process=0 end=0 first=6 second=6
        channel process=0 first=4 second=5 capacity=2
        send process=0 end=4 word=0 first=Move:6 second=none
        revoke process=1 handle=5
        receive process=0 end=5 first=5 second=5
        drop process=0 handle=6
        ",
    );
}

#[test]
fn a_token_is_worth_nothing_to_others_at_other_ends_again_and_forged() {
    const ALL: &str = "mode=Share rights=GRANT+DUPLICATE+SIGNAL+WAIT flags=0 until=never";
    runs(&format!(
        "
        notification process=0 handle=4
        grant process=0 handle=4 via=handle:0 token=0 {ALL}
        grant process=0 handle=4 via=hub:1 token=1 {ALL}
        accept process=2 token=1 forged=0 via=process:0 handle=5
        accept process=2 token=0 forged=0 via=handle:0 handle=5
        accept process=1 token=0 forged=0 via=process:0 handle=5
        accept process=1 token=1 forged=0 via=process:2 handle=5
        accept process=1 token=1 forged=1 via=process:0 handle=5
        accept process=1 token=1 forged=0 via=handle:2 handle=5
        accept process=1 token=0 forged=0 via=handle:0 handle=6
        accept process=1 token=1 forged=0 via=process:0 handle=5
        cancel process=0 token=0 forged=0
        same process=1 one=5 other=6
        "
    ));
}

#[test]
fn what_was_offered_over_an_end_comes_back_with_what_its_sender_may_then() {
    runs(
        "
        notification process=0 handle=4
        derive process=0 from=4 handle=5 rights=GRANT+MOVE+SIGNAL+WAIT
        channel process=0 first=1 second=6 capacity=2
        send process=0 end=0 word=0 first=Move:6 second=none
        grant process=0 handle=5 via=handle:0 token=0 mode=Move rights=GRANT+SIGNAL flags=0 until=300
        reduce process=0 handle=4 rights=REVOKE+SIGNAL
        drop process=1 handle=0
        signal process=0 handle=5 bits=1
        poll process=0 handle=5
        pass time=500
        revoke process=0 handle=4
        ",
    );
}

#[test]
fn a_move_that_revokes_is_refused_while_what_is_above_gives_access() {
    runs(
        "
        region process=0 handle=4
        derive process=0 from=4 handle=5 rights=READ+MAP+GRANT+MOVE+DUPLICATE+REVOKE
        derive process=0 from=5 handle=6 rights=READ+MAP+GRANT
        grant process=0 handle=5 via=process:1 token=0 mode=Move rights=READ flags=REVOKE_OTHERS until=never
        reduce process=0 handle=4 rights=REVOKE
        grant process=0 handle=5 via=process:1 token=0 mode=Move rights=READ flags=REVOKE_OTHERS until=never
        ",
    );
}
