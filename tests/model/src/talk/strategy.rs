//! Random programs. What is made or received goes into any register, and what was there is
//! forgotten, as a program forgets a handle.

use abi::{FOREVER, GrantFlags, Mode, Rights};
use proptest::prelude::*;

use super::likely::repair;
use super::{Load, REGISTERS, RINGS, Step, TOKENS, Via};
use crate::{PROCESSES, Program, Until};

fn process() -> impl Strategy<Value = usize> {
    0..PROCESSES
}

fn register() -> impl Strategy<Value = usize> {
    0..REGISTERS
}

/// Where each process has the ends of the first channels, more often than not.
fn end() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0..2usize, 1 => register()]
}

fn rights() -> impl Strategy<Value = Rights> {
    prop_oneof![
        6 => Just(Rights::all()),
        2 => any::<u32>().prop_map(Rights::from_bits_truncate),
    ]
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![
        5 => Just(Mode::Move),
        4 => Just(Mode::Share),
        1 => Just(Mode::CopyOnWrite),
    ]
}

/// Times of the clock, which begins near 0 and passes by hundreds.
fn until() -> impl Strategy<Value = Until> {
    prop_oneof![3 => Just(FOREVER), 2 => 0..6000u64].prop_map(Until)
}

fn via() -> impl Strategy<Value = Via> {
    prop_oneof![
        2 => process().prop_map(Via::Process),
        2 => process().prop_map(Via::Hub),
        4 => (0..2 * RINGS).prop_map(Via::Handle),
        1 => register().prop_map(Via::Handle),
    ]
}

/// What of a token is turned over: mostly nothing, else a bit of its place, its generation, its mode or its
/// kind.
fn forged() -> impl Strategy<Value = u64> {
    prop_oneof![6 => Just(0), 1 => (0..64u32).prop_map(|bit| 1 << bit)]
}

fn flags() -> impl Strategy<Value = GrantFlags> {
    prop_oneof![4 => Just(GrantFlags::empty()), 1 => Just(GrantFlags::REVOKE_OTHERS)]
}

fn load() -> impl Strategy<Value = Load> {
    prop_oneof![
        2 => Just(Load::None),
        3 => (mode(), register()).prop_map(|(mode, register)| Load::Some(mode, register)),
    ]
}

/// What is done with capabilities themselves, and with offers.
fn authority() -> impl Strategy<Value = Step> {
    let own = || (process(), register());
    let once = prop::bool::weighted(0.3);
    let narrowed = (
        rights(),
        prop_oneof![2 => Just(0), 1 => 1..70u32],
        0..3u64,
        until(),
        once,
    );
    prop_oneof![
        2 => (own(), process()).prop_map(|((process, handle), of)| {
            Step::Know { process, of, handle }
        }),
        3 => (own(), register(), narrowed).prop_map(
            |((process, from), handle, (rights, nodes, badge, until, once))| Step::Narrow {
                process, from, handle, rights, nodes, badge, until, once
            }
        ),
        1 => (own(), rights()).prop_map(|((process, handle), rights)| {
            Step::Reduce { process, handle, rights }
        }),
        1 => (own(), register()).prop_map(|((process, one), other)| {
            Step::Same { process, one, other }
        }),
        2 => (0..500u64).prop_map(|time| Step::Pass { time }),
        1 => own().prop_map(|(process, handle)| Step::RevokeAll { process, handle }),
        10 => ((own(), via(), 0..TOKENS), (mode(), rights(), flags(), until())).prop_map(
            |(((process, handle), via, token), (mode, rights, flags, until))| Step::Grant {
                process, handle, via, token, mode, rights, flags, until
            }
        ),
        14 => (own(), 0..TOKENS, forged(), via()).prop_map(
            |((process, handle), token, forged, via)| Step::Accept {
                process, token, forged, via, handle
            }
        ),
        3 => (process(), 0..TOKENS, forged()).prop_map(|(process, token, forged)| {
            Step::Cancel { process, token, forged }
        }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let own = || (process(), register());
    prop_oneof![
        36 => authority(),
        2 => ((process(), register()), register()).prop_map(|((process, first), second)| {
            Step::Ring { process, first, second }
        }),
        3 => own().prop_map(|(process, handle)| Step::Region { process, handle }),
        2 => own().prop_map(|(process, handle)| Step::Notification { process, handle }),
        3 => (own(), register(), 1..4u64).prop_map(|((process, first), second, capacity)| {
            Step::Channel { process, first, second, capacity }
        }),
        4 => (own(), register(), rights()).prop_map(|((process, from), handle, rights)| {
            Step::Derive { process, from, handle, rights }
        }),
        4 => own().prop_map(|(process, handle)| Step::Drop { process, handle }),
        2 => own().prop_map(|(process, handle)| Step::Revoke { process, handle }),
        16 => (process(), end(), 0..1000u64, load(), load()).prop_map(
            |(process, end, word, first, second)| Step::Send { process, end, word, first, second }
        ),
        22 => (process(), end(), 2..REGISTERS, 2..REGISTERS).prop_map(
            |(process, end, first, second)| Step::Receive { process, end, first, second }
        ),
        3 => (own(), 0..4u64).prop_map(|((process, handle), bits)| {
            Step::Signal { process, handle, bits }
        }),
        3 => own().prop_map(|(process, handle)| Step::Poll { process, handle }),
        1 => process().prop_map(|process| Step::Exit { process }),
        2 => (process(), process(), 0..2usize, 0..2usize).prop_map(
            |(process, by, mine, theirs)| Step::Start { process, by, mine, theirs }
        ),
    ]
}

/// A program of so many steps at most.
pub(super) fn program(length: usize) -> impl Strategy<Value = Program<Step>> {
    prop::collection::vec(step(), 1..=length).prop_map(repair)
}
