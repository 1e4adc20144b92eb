//! Random programs of several processes on several CPUs, compared with a model that knows nothing
//! of page tables (I1 to I7, I11, I14, I15), and programs that once failed.

use model::{FEW_FRAMES, FRAMES, Program, Step, Tally, execute, search, steps_to_run};

/// Runs a program that is written as text.
fn runs(text: &str) {
    let program: Program = text.parse().expect("it is a program");
    execute(&program, 1, FRAMES, &mut Tally::new());
}

/// Searches among programs of at most `length` steps on a machine of so many frames. Every kind of
/// step has succeeded then: a model that agrees because nothing ever happens proves nothing.
/// `HANDOVER_MODEL_STEPS` sets how many steps are run; `make proof` runs a million.
fn agrees(seed: u64, length: usize, frames: u64) {
    let steps = steps_to_run(60_000) / 3;
    let mut tally = Tally::new();
    search(seed, steps, length, |program, seed| {
        execute(program, seed, frames, &mut tally);
    });
    for name in Step::NAMES {
        let often = tally.get(&(name, "Ok")).copied().unwrap_or(0);
        assert!(
            often >= (steps / 10_000).max(1),
            "{name} succeeded {often} times"
        );
    }
}

#[test]
fn memory_and_authority_are_what_the_model_says() {
    agrees(1, 40, FRAMES);
}

#[test]
fn they_are_after_many_steps() {
    agrees(2, 300, FRAMES);
}

#[test]
fn they_are_when_memory_is_short() {
    agrees(3, 100, FEW_FRAMES);
}

#[test]
fn a_region_is_shared_written_moved_and_lost() {
    runs(
        "
        create process=0 handle=0 pages=3 flags=COMMIT
        map process=0 handle=0 mapping=0 place=anywhere guard=false offset=0 len=0 access=READ+WRITE
        store cpu=0 mapping=0 page=2 word=1 value=7
        grant process=0 handle=0 to=1 token=0 mode=Share rights=READ+MAP flags=0 until=never
        accept process=1 token=0 from=0 handle=0
        map process=1 handle=0 mapping=0 place=anywhere guard=false offset=0 len=0 access=READ
        load cpu=1 mapping=0 page=2 word=1
        grant process=0 handle=0 to=2 token=1 mode=Move rights=READ+MAP flags=0 until=never
        revoke process=0 handle=0
        load cpu=1 mapping=0 page=2 word=1
        grant process=0 handle=0 to=2 token=1 mode=Move rights=READ+MAP flags=0 until=never
        load cpu=0 mapping=0 page=2 word=1
        exit process=0
        accept process=2 token=1 from=0 handle=3
        read process=2 handle=3 page=2 word=1
        ",
    );
}

// What follows once failed, as it was printed.

#[test]
fn a_snapshot_of_what_overcommits_is_promised_its_own_worst_case() {
    runs(
        "
        create process=0 handle=0 pages=2 flags=OVERCOMMIT
        grant process=0 handle=0 to=0 token=0 mode=CopyOnWrite rights=READ flags=0 until=never
        ",
    );
}

#[test]
fn kin_that_overcommits_keeps_no_promise_of_those_that_are_gone() {
    runs(
        "
        create process=0 handle=0 pages=3 flags=0
        grant process=0 handle=0 to=1 token=0 mode=CopyOnWrite rights=READ flags=OVERCOMMIT until=never
        grant process=0 handle=0 to=0 token=1 mode=CopyOnWrite rights=READ flags=0 until=never
        ",
    );
}

#[test]
fn a_page_that_was_given_back_is_filled_again_whatever_a_snapshot_keeps() {
    runs(
        "
        create process=1 handle=0 pages=1 flags=COMMIT
        grant process=1 handle=0 to=0 token=0 mode=CopyOnWrite rights=READ flags=OVERCOMMIT until=never
        decommit process=1 handle=0 page=0 pages=0
        write process=1 handle=0 page=0 word=0 value=1
        ",
    );
}

#[test]
fn what_was_made_to_be_executed_can_be() {
    runs(
        "
        create process=0 handle=0 pages=1 flags=EXECUTE
        map process=0 handle=0 mapping=0 place=anywhere guard=false offset=0 len=0 access=READ+EXECUTE
        fetch cpu=0 mapping=0 page=0
        ",
    );
}

#[test]
fn the_last_owner_of_a_large_leaf_copies_nothing_and_needs_no_promise_for_it() {
    runs(
        "
        create process=2 handle=0 pages=1030 flags=COMMIT
        snapshot process=2 from=0 handle=1 offset=0 len=0 flags=0
        write process=2 handle=1 page=0 word=0 value=0
        pin process=2 handle=0
        map process=2 handle=1 mapping=0 place=anywhere guard=false offset=0 len=0 access=READ+WRITE
        store cpu=2 mapping=0 page=1020 word=0 value=0
        ",
    );
}

#[test]
fn what_is_pinned_by_who_has_a_part_is_there_in_that_part() {
    const ALL: &str = "rights=READ+WRITE+MAP+GRANT+MOVE+DUPLICATE+SEAL+REVOKE+DESTROY+INSPECT";
    const WHOEVER: &str = "nodes=0 badge=0 until=never once=false";
    runs(&format!(
        "
        create process=0 handle=0 pages=513 flags=EXECUTE
        narrow process=0 from=0 handle=1 {ALL} offset=1 len=1 {WHOEVER}
        narrow process=0 from=0 handle=2 {ALL} offset=0 len=1 {WHOEVER}
        pin process=0 handle=1
        write process=0 handle=0 page=0 word=1 value=7
        pin process=0 handle=2
        unpin process=0 handle=1
        write process=0 handle=0 page=512 word=1 value=7
        write process=0 handle=0 page=1 word=1 value=7
        decommit process=0 handle=0 page=512 pages=1
        "
    ));
}
