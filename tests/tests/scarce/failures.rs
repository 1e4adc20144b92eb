//! Everything that can fail fails once in every step of random programs, and each time nothing is
//! changed (I9).

use crate::heap;
use std::cell::RefCell;

use model::{Answer, Charges, Frames, Injection, Program, Subject, Sweep, search, steps_to_run};

/// An allocation by `try_reserve`.
struct Allocations;

impl Injection for Allocations {
    fn arm(&self, _: &Subject, calls: u64) {
        heap::fail_after(calls);
    }

    fn disarm(&self, _: &Subject, _: Option<Answer>) -> bool {
        heap::stop_failing()
    }
}

/// Sweeps random programs; what each of `kinds` asked for has failed then.
fn sweep(seed: u64, injection: &impl Injection, kinds: &[&str]) {
    let sweep = RefCell::new(Sweep::default());
    let steps = steps_to_run(30_000) / 10;
    search(seed, steps, 60, |program, seed| {
        sweep.borrow_mut().run(program, seed, injection);
    });
    let failures = &sweep.borrow().failures;
    for kind in kinds {
        assert!(
            failures.contains_key(kind),
            "{kind} never failed: {failures:?}"
        );
    }
}

#[test]
fn the_failure_of_any_frame_or_promise_leaves_everything_as_it_was() {
    sweep(3, &Frames, &["create", "map", "start"]);
}

#[test]
fn the_failure_of_any_allocation_that_may_fail_leaves_everything_as_it_was() {
    sweep(
        4,
        &Allocations,
        &["create", "derive", "map", "grant", "snapshot", "pin"],
    );
}

#[test]
fn a_quota_that_ends_anywhere_leaves_everything_as_it_was() {
    sweep(
        5,
        &Charges::frames(),
        &["create", "snapshot", "grant", "accept"],
    );
    sweep(
        6,
        &Charges::tables(),
        &["create", "snapshot", "map", "accept"],
    );
    sweep(
        7,
        &Charges::bytes(),
        &[
            "create", "derive", "map", "grant", "snapshot", "pin", "accept",
        ],
    );
}

#[test]
fn a_map_that_fails_half_way_leaves_the_region_and_its_other_mapping() {
    let program: Program = "
        create process=0 handle=0 pages=513 flags=0
        map process=0 handle=0 mapping=0 place=anywhere guard=false offset=0 len=0 access=READ+WRITE
        store cpu=0 mapping=0 page=512 word=3 value=9
        map process=0 handle=0 mapping=1 place=fixed:1023 guard=false offset=0 len=0 access=READ
        load cpu=0 mapping=1 page=512 word=3
    "
    .parse()
    .expect("it is a program");
    let mut sweep = Sweep::default();
    sweep.run(&program, 1, &Frames);
    // The region's promise and the tables: its first mapping needs two, its second, over the end
    // of a GiB, one more.
    assert_eq!(sweep.failures["create"], 1);
    assert_eq!(sweep.failures["map"], 3);
    sweep.run(&program, 1, &Allocations);
}

#[test]
fn a_region_that_can_not_overcommit_for_want_of_a_list_leaves_no_promise() {
    let program: Program = "create process=0 handle=0 pages=513 flags=OVERCOMMIT"
        .parse()
        .expect("it is a program");
    let mut sweep = Sweep::default();
    sweep.run(&program, 1, &Allocations);
    // Of its leaves, and of the list.
    assert!(sweep.failures["create"] > 1);
}

#[test]
fn a_table_of_handles_that_can_not_grow_refuses_what_is_offered_and_the_token_stays_good() {
    let mut text = "create process=0 handle=0 pages=1 flags=0".to_owned();
    for _ in 0..140 {
        text += "
            grant process=0 handle=0 to=1 token=0 mode=Share rights=READ flags=0 until=never
            accept process=1 token=0 from=0 handle=0";
    }
    let mut sweep = Sweep::default();
    sweep.run(&text.parse().expect("it is a program"), 1, &Allocations);
    assert!(sweep.failures["accept"] > 0, "{:?}", sweep.failures);
}
