//! What the tests of the frame allocator have in common.

use std::sync::Arc;

use fake::{Config, FakeMachine, Memory};
use mm::{Budget, Frame, Frames};

pub const CPUS: usize = 4;

pub fn machine(frames: u64, nodes: usize) -> Arc<Memory> {
    fake::start(Config {
        frames,
        nodes,
        cpus: CPUS,
        ..Config::default()
    })
}

/// The frames of a run.
pub fn run(first: Frame, order: u32) -> impl Iterator<Item = Frame> {
    (first.number()..first.number() + (1 << order)).map(Frame::from_number)
}

/// The free blocks of two nodes by order.
pub fn blocks(machine: &FakeMachine) -> [Vec<u64>; 2] {
    [0, 1].map(|node| machine.pool().free_blocks(node).to_vec())
}

pub fn take_all(machine: &FakeMachine) -> Vec<Frame> {
    std::iter::from_fn(|| machine.allocate(None, Budget::Open)).collect()
}
