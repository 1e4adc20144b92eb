//! Defects that shared memory had elsewhere, each as a test that would catch it here. The table in
//! docs/prior-art.md says which; most are caught by tests of other files.

use crate::common::realm::Realm;
use crate::common::{READ, WRITE};
use abi::{Error, Mode, Rights};
use model::{FRAMES, Program, Tally, execute};

/// Runs a program on the crates and on the model, everything compared after each step.
fn runs(text: &str) -> Tally {
    let program: Program = text.parse().expect("it is a program");
    let mut tally = Tally::new();
    execute(&program, 1, FRAMES, &mut tally);
    tally
}

#[test]
fn what_is_shared_can_be_mapped_unmapped_and_mapped_again() {
    let tally = runs(
        "
        create process=0 handle=0 pages=2 flags=0
        grant process=0 handle=0 to=1 token=0 mode=Share rights=READ+WRITE+MAP flags=0 until=never
        accept process=1 token=0 from=0 handle=0
        map process=1 handle=0 mapping=0 place=anywhere guard=false offset=0 len=0 access=READ+WRITE
        store cpu=1 mapping=0 page=1 word=2 value=5
        unmap process=1 mapping=0
        load cpu=1 mapping=0 page=1 word=2
        map process=1 handle=0 mapping=0 place=anywhere guard=false offset=0 len=0 access=READ
        load cpu=1 mapping=0 page=1 word=2
        map process=0 handle=0 mapping=0 place=anywhere guard=false offset=0 len=0 access=READ
        load cpu=0 mapping=0 page=1 word=2
        ",
    );
    assert_eq!(tally[&("map", "Ok")], 3);
    assert_eq!(tally[&("load", "Ok")], 2);
}

#[test]
fn nobody_unmaps_or_protects_for_another() {
    let realm = Realm::new(2);
    let region = realm.region(0, 1);
    let va = realm.map(0, region, WRITE);
    realm.store(0, 0, va, 7).unwrap();
    assert_eq!(realm.unmap(1, va), Err(Error::NotFound));
    let protected = realm.ipc.protect(&realm.domains[1], va, READ);
    assert_eq!(protected, Err(Error::NotFound));
    assert_eq!(realm.load(0, 0, va), Ok(7));
    realm.finish();
}

#[test]
fn memory_returns_with_the_last_handle_and_mapping_and_no_sooner() {
    // The model knows to a frame what is free after each step.
    runs(
        "
        create process=0 handle=0 pages=4 flags=COMMIT
        map process=0 handle=0 mapping=0 place=anywhere guard=false offset=0 len=0 access=READ+WRITE
        grant process=0 handle=0 to=1 token=0 mode=Share rights=READ+MAP flags=0 until=never
        accept process=1 token=0 from=0 handle=0
        map process=1 handle=0 mapping=0 place=anywhere guard=false offset=0 len=0 access=READ
        store cpu=0 mapping=0 page=3 word=0 value=9
        drop process=0 handle=0
        unmap process=0 mapping=0
        load cpu=1 mapping=0 page=3 word=0
        drop process=1 handle=0
        load cpu=1 mapping=0 page=3 word=0
        unmap process=1 mapping=0
        create process=2 handle=0 pages=4 flags=COMMIT
        read process=2 handle=0 page=3 word=0
        ",
    );
}

#[test]
fn memory_that_several_hold_is_freed_once_whoever_ends_first() {
    for (first, second) in [(0, 1), (1, 0)] {
        runs(&format!(
            "
            create process=0 handle=0 pages=3 flags=COMMIT
            grant process=0 handle=0 to=1 token=0 mode=Share rights=READ+WRITE+MAP flags=0 until=never
            accept process=1 token=0 from=0 handle=0
            map process=0 handle=0 mapping=0 place=anywhere guard=false offset=0 len=0 access=READ+WRITE
            map process=1 handle=0 mapping=0 place=anywhere guard=false offset=0 len=0 access=READ+WRITE
            store cpu={first} mapping=0 page=1 word=3 value=4
            exit process={first}
            load cpu={second} mapping=0 page=1 word=3
            create process=2 handle=0 pages=60 flags=COMMIT
            load cpu={second} mapping=0 page=1 word=3
            exit process={second}
            "
        ));
    }
}

#[test]
fn a_process_in_the_place_of_another_gets_nothing_that_was_meant_for_it() {
    let tally = runs(
        "
        create process=0 handle=0 pages=1 flags=0
        create process=1 handle=0 pages=1 flags=0
        map process=1 handle=0 mapping=0 place=anywhere guard=false offset=0 len=0 access=READ+WRITE
        store cpu=1 mapping=0 page=0 word=0 value=3
        grant process=0 handle=0 to=1 token=0 mode=Move rights=READ+WRITE+MAP flags=0 until=never
        grant process=1 handle=0 to=2 token=1 mode=Share rights=READ flags=0 until=never
        exit process=1
        start process=1
        enter cpu=1 process=1
        accept process=1 token=0 from=0 handle=0
        accept process=2 token=1 from=1 handle=0
        cancel process=1 token=1
        read process=0 handle=0 page=0 word=0
        ",
    );
    assert_eq!(tally[&("accept", "NotFound")], 2);
    assert_eq!(tally[&("cancel", "NotFound")], 1);
    assert_eq!(tally[&("read", "Ok")], 1);
}

#[test]
fn every_combination_of_access_is_given_as_asked_or_refused() {
    let realm = Realm::new(1);
    let region = realm.region(0, 1);
    for bits in 0..8 {
        let access = Rights::from_bits_truncate(bits);
        let expected = match access {
            READ | WRITE => Ok(()),
            _ if access == READ | Rights::EXECUTE => Err(Error::Denied),
            _ => Err(Error::Invalid),
        };
        let mapped = realm.try_map(0, region, access);
        assert_eq!(mapped.map(drop), expected, "{access:?}");
        if let Ok(va) = mapped {
            let stored = realm.store(0, 0, va, 1);
            assert_eq!(stored.is_ok(), access.contains(Rights::WRITE));
        }
    }
    realm.finish();
}

#[test]
fn each_mode_hands_over_what_it_says_and_nothing_else() {
    let realm = Realm::new(3);
    let region = realm.region(0, 1);
    let va = realm.map(0, region, WRITE);
    realm.store(0, 0, va, 1).unwrap();
    let theirs = realm.give(0, region, 1, Mode::Share);
    assert_eq!(realm.load(0, 0, va), Ok(1), "a Share takes nothing away");
    let there = realm.map(1, theirs, WRITE);
    realm.store(1, 1, there, 2).unwrap();
    assert_eq!(realm.load(0, 0, va), Ok(2), "it is the same memory");
    realm.revoke(0, region).unwrap();
    assert!(!realm.reaches(1, there));
    let moved = realm.give(0, region, 2, Mode::Move);
    assert!(!realm.reaches(0, va), "a Move takes everything away");
    assert_eq!(realm.look_up(0, region), Err(Error::BadHandle));
    let here = realm.map(2, moved, READ);
    assert_eq!(realm.load(2, 2, here), Ok(2));
    realm.finish();
}
