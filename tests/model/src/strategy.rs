//! Random programs.

use abi::{Mode, RegionFlags, Rights};
use proptest::prelude::*;

use crate::spec::WORDS;
use crate::{BASE, CPUS, PROCESSES, Place, Program, REGISTERS, Step, TOKENS};

/// The first unit of 2 MiB that mappings cluster at.
const FIRST_UNIT: u64 = BASE >> 21;

fn rights() -> impl Strategy<Value = Rights> {
    prop_oneof![
        6 => Just(Rights::all()),
        1 => Just(Rights::all() - Rights::ACCESS),
        1 => Just(Rights::all() - Rights::WRITE),
        2 => any::<u32>().prop_map(Rights::from_bits_truncate),
    ]
}

fn access() -> impl Strategy<Value = Rights> {
    prop_oneof![
        4 => Just(Rights::READ),
        8 => Just(Rights::READ | Rights::WRITE),
        1 => any::<u32>().prop_map(|bits| Rights::from_bits_truncate(bits) & Rights::ACCESS),
    ]
}

fn place() -> impl Strategy<Value = Place> {
    let near = FIRST_UNIT..FIRST_UNIT + 12;
    let odd = prop_oneof![
        Just(0),
        Just(1),
        Just((1 << 26) - 2),
        Just(1 << 26),
        Just(1 << 42),
        Just(FIRST_UNIT + 511),
    ];
    prop_oneof![
        8 => Just(Place::Anywhere),
        2 => near.clone().prop_map(Place::Hint),
        3 => near.prop_map(Place::Fixed),
        1 => (odd, any::<bool>()).prop_map(|(unit, fixed)| {
            if fixed { Place::Fixed(unit) } else { Place::Hint(unit) }
        }),
    ]
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![
        4 => Just(Mode::Move),
        4 => Just(Mode::Share),
        1 => Just(Mode::CopyOnWrite),
    ]
}

/// One step.
pub fn step() -> impl Strategy<Value = Step> {
    let process = || 0..PROCESSES;
    let register = || prop_oneof![3 => 0..2usize, 2 => 0..REGISTERS];
    let token = || 0..TOKENS;
    let cpu = || 0..CPUS;
    let word = || 0..WORDS.len();
    let pages = prop_oneof![
        4 => Just(1u64),
        6 => 2..9u64,
        1 => 9..60u64,
        1 => prop_oneof![Just(511u64), Just(512), Just(513), Just(1030)],
    ];
    let at = || prop_oneof![6 => 0..4u64, 1 => 0..12u64, 1 => 505..520u64, 1 => 1020..1034u64];
    let value = || prop_oneof![Just(0u64), 1..1000u64];
    let flags = prop_oneof![5 => Just(RegionFlags::empty()), 1 => Just(RegionFlags::COMMIT)];
    let part = || prop_oneof![8 => Just((0u64, 0u64)), 3 => (0..3u64, 0..3u64), 1 => (0..4u64, 0..5u64)];
    let from_to = (process(), process());
    let handles = prop_oneof![
        5 => (process(), register(), pages, flags).prop_map(|(process, handle, pages, flags)| {
            // A large region that is filled at once is all there is.
            let flags = if pages > 600 { RegionFlags::empty() } else { flags };
            Step::Create { process, handle, pages, flags }
        }),
        4 => (process(), register(), register(), rights())
            .prop_map(|(process, from, handle, rights)| Step::Derive { process, from, handle, rights }),
        4 => (process(), register()).prop_map(|(process, handle)| Step::Drop { process, handle }),
        2 => (process(), register()).prop_map(|(process, handle)| Step::Revoke { process, handle }),
        1 => (process(), register()).prop_map(|(process, handle)| Step::Destroy { process, handle }),
        1 => (process(), register()).prop_map(|(process, handle)| Step::Seal { process, handle }),
    ];
    let mappings = prop_oneof![
        9 => (process(), register(), register(), place(), part(), access()).prop_map(
            |(process, handle, mapping, place, (offset, len), access)| {
                Step::Map { process, handle, mapping, place, offset, len, access }
            }
        ),
        3 => (process(), register()).prop_map(|(process, mapping)| Step::Unmap { process, mapping }),
        3 => (process(), register(), access())
            .prop_map(|(process, mapping, access)| Step::Protect { process, mapping, access }),
    ];
    let cpus = prop_oneof![
        3 => (cpu(), process()).prop_map(|(cpu, process)| Step::Enter { cpu, process }),
        1 => cpu().prop_map(|cpu| Step::Idle { cpu }),
        9 => (cpu(), register(), at(), word())
            .prop_map(|(cpu, mapping, page, word)| Step::Load { cpu, mapping, page, word }),
        12 => (cpu(), register(), at(), word(), value()).prop_map(
            |(cpu, mapping, page, word, value)| Step::Store { cpu, mapping, page, word, value }
        ),
        1 => (cpu(), register(), at())
            .prop_map(|(cpu, mapping, page)| Step::Fetch { cpu, mapping, page }),
        2 => (process(), register(), at(), word())
            .prop_map(|(process, handle, page, word)| Step::Read { process, handle, page, word }),
        3 => (process(), register(), at(), word(), value()).prop_map(
            |(process, handle, page, word, value)| Step::Write { process, handle, page, word, value }
        ),
    ];
    let transfers = prop_oneof![
        8 => (from_to.clone(), register(), token(), mode(), rights()).prop_map(
            |((process, to), handle, token, mode, rights)| {
                Step::Grant { process, handle, to, token, mode, rights }
            }
        ),
        8 => (from_to, token(), register()).prop_map(
            |((process, from), token, handle)| Step::Accept { process, token, from, handle }
        ),
        2 => (process(), token()).prop_map(|(process, token)| Step::Cancel { process, token }),
    ];
    let lives = prop_oneof![
        1 => process().prop_map(|process| Step::Exit { process }),
        2 => process().prop_map(|process| Step::Start { process }),
    ];
    prop_oneof![
        16 => handles,
        16 => mappings,
        26 => cpus,
        14 => transfers,
        2 => lives,
    ]
}

/// A program of at most so many steps.
pub fn program(steps: usize) -> impl Strategy<Value = Program> {
    prop::collection::vec(step(), 1..=steps).prop_map(Program)
}
