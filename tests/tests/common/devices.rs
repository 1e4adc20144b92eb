//! What the tests of devices have in common.

use fake::{Config, FakeMachine};
use mm::{AddressSpace, Entry, Mmu};

pub const PAGE: u64 = 4096;
/// More than one leaf table.
pub const PAGES: u64 = 700;

pub const CONFIG: Config = Config {
    frames: 1024,
    cpus: 4,
    nodes: 1,
    initrd_frames: 3,
    device_frames: PAGES,
    seed: 1,
};

/// The physical address of the device.
pub fn device(machine: &FakeMachine) -> u64 {
    machine.device().address()
}

/// The entry by which the CPU translates an address.
pub fn leaf_entry(machine: &FakeMachine, space: &AddressSpace, va: u64) -> Entry {
    let index = |level: u32| (va >> (12 + 9 * level)) as usize & 511;
    let mut table = space.root();
    for level in [3, 2, 1] {
        table = machine.load(table, index(level)).frame().unwrap();
    }
    machine.load(table, index(0))
}
