//! Random programs. What is made or received goes into any register, and what was there is
//! forgotten, as a program forgets a handle.

use abi::{Mode, Rights};
use proptest::prelude::*;

use super::likely::repair;
use super::{Load, REGISTERS, Step};
use crate::{PROCESSES, Program};

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

fn load() -> impl Strategy<Value = Load> {
    let mode = prop_oneof![
        5 => Just(Mode::Move),
        4 => Just(Mode::Share),
        1 => Just(Mode::CopyOnWrite),
    ];
    prop_oneof![
        2 => Just(Load::None),
        3 => (mode, register()).prop_map(|(mode, register)| Load::Some(mode, register)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let own = || (process(), register());
    prop_oneof![
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
