//! Random programs.

mod together;

use abi::{FOREVER, GrantFlags, Mode, RegionFlags, Rights, SnapshotFlags};
use proptest::prelude::*;

use crate::repair::repair;
use crate::spec::WORDS;
use crate::{BASE, CPUS, PROCESSES, Place, Program, REGISTERS, Step, TOKENS, Until};
use together::together;

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
        2 => Just(Rights::READ | Rights::EXECUTE),
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
        6 => Just(Mode::CopyOnWrite),
    ]
}

fn process() -> impl Strategy<Value = usize> {
    0..PROCESSES
}

fn register() -> impl Strategy<Value = usize> {
    prop_oneof![3 => 0..2usize, 2 => 0..REGISTERS]
}

/// A page, and one of its words.
fn spot() -> impl Strategy<Value = (u64, usize)> {
    let page = prop_oneof![
        8 => 0..4u64,
        1 => 0..12u64,
        1 => 505..520u64,
        1 => 1020..1034u64
    ];
    (page, 0..WORDS.len())
}

/// Some pages, or all from one on.
fn pages() -> impl Strategy<Value = (u64, u64)> {
    prop_oneof![
        3 => (0..4u64, 0..4u64),
        2 => Just((0, 0)),
        1 => (500..514u64, 0..20u64)
    ]
}

fn value() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0u64), 1..1000u64]
}

fn create() -> impl Strategy<Value = Step> {
    let pages = prop_oneof![
        2 => Just(1u64),
        6 => 2..9u64,
        1 => 9..60u64,
        1 => prop_oneof![Just(511u64), Just(512), Just(513), Just(1030)],
    ];
    let flags = prop_oneof![
        8 => Just(RegionFlags::empty()),
        4 => Just(RegionFlags::COMMIT),
        2 => Just(RegionFlags::OVERCOMMIT),
        1 => Just(RegionFlags::CONTIGUOUS),
        2 => Just(RegionFlags::EXECUTE),
        1 => Just(RegionFlags::EXECUTE | RegionFlags::JIT),
        1 => any::<u32>().prop_map(RegionFlags::from_bits_truncate),
    ];
    (process(), register(), pages, flags).prop_map(|(process, handle, pages, flags)| Step::Create {
        process,
        handle,
        pages,
        flags,
    })
}

/// A part of a region, in leaf tables.
fn part() -> impl Strategy<Value = (u64, u64)> {
    prop_oneof![
        8 => Just((0u64, 0u64)),
        3 => (0..2u64, 0..3u64),
        1 => (0..4u64, 0..5u64)
    ]
}

fn snapshot() -> impl Strategy<Value = Step> {
    let flags = prop_oneof![
        4 => Just(SnapshotFlags::empty()),
        1 => Just(SnapshotFlags::OVERCOMMIT)
    ];
    (process(), register(), register(), part(), flags).prop_map(
        |(process, from, handle, (offset, len), flags)| Step::Snapshot {
            process,
            from,
            handle,
            offset,
            len,
            flags,
        },
    )
}

fn map() -> impl Strategy<Value = Step> {
    let where_to = (place(), prop::bool::weighted(0.2));
    (
        process(),
        register(),
        register(),
        where_to,
        part(),
        access(),
    )
        .prop_map(
            |(process, handle, mapping, (place, guard), (offset, len), access)| Step::Map {
                process,
                handle,
                mapping,
                place,
                guard,
                offset,
                len,
                access,
            },
        )
}

fn grant() -> impl Strategy<Value = Step> {
    let given = mode().prop_flat_map(|mode| {
        let sensible = match mode {
            Mode::Share => GrantFlags::empty(),
            Mode::Move => GrantFlags::REVOKE_OTHERS,
            Mode::CopyOnWrite => GrantFlags::OVERCOMMIT,
        };
        let flags = prop_oneof![
            10 => Just(GrantFlags::empty()),
            4 => Just(sensible),
            1 => Just(GrantFlags::all())
        ];
        (Just(mode), flags)
    });
    let hands = (process(), register(), process());
    (hands, 0..TOKENS, given, rights(), until()).prop_map(
        |((process, handle, to), token, (mode, flags), rights, until)| Step::Grant {
            process,
            handle,
            to,
            token,
            mode,
            rights,
            flags,
            until,
        },
    )
}

/// A time that comes during a program, or never.
fn until() -> impl Strategy<Value = Until> {
    prop_oneof![
        6 => Just(Until(FOREVER)),
        3 => (1..40u64).prop_map(Until),
    ]
}

fn narrow() -> impl Strategy<Value = Step> {
    let names = (process(), register(), register());
    let nodes = prop_oneof![4 => Just(0u32), 2 => 1..5u32];
    let badge = prop_oneof![4 => Just(0u64), 2 => 1..3u64];
    let more = (nodes, badge, until(), prop::bool::weighted(0.2));
    (names, rights(), part(), more).prop_map(
        |((process, from, handle), rights, (offset, len), (nodes, badge, until, once))| {
            Step::Narrow {
                process,
                from,
                handle,
                rights,
                offset,
                len,
                nodes,
                badge,
                until,
                once,
            }
        },
    )
}

fn store() -> impl Strategy<Value = Step> {
    (0..CPUS, register(), spot(), value()).prop_map(|(cpu, mapping, (page, word), value)| {
        Step::Store {
            cpu,
            mapping,
            page,
            word,
            value,
        }
    })
}

/// What capabilities are for but to be handed over.
fn authority() -> impl Strategy<Value = Step> {
    let own = || (process(), register());
    prop_oneof![
        4 => (own(), register(), rights()).prop_map(|((process, from), handle, rights)| {
            Step::Derive { process, from, handle, rights }
        }),
        3 => narrow().boxed(),
        1 => (own(), rights()).prop_map(|((process, handle), rights)| {
            Step::Reduce { process, handle, rights }
        }),
        1 => (0..8u64).prop_map(|time| Step::Pass { time }),
        3 => own().prop_map(|(process, handle)| Step::Drop { process, handle }),
        2 => own().prop_map(|(process, handle)| Step::Revoke { process, handle }),
        1 => own().prop_map(|(process, handle)| Step::RevokeAll { process, handle }),
        1 => own().prop_map(|(process, handle)| Step::Destroy { process, handle }),
        1 => own().prop_map(|(process, handle)| Step::Seal { process, handle }),
    ]
}

/// What programs do with what they have mapped.
fn memory() -> impl Strategy<Value = Step> {
    let own = || (process(), register());
    prop_oneof![
        2 => own().prop_map(|(process, mapping)| Step::Unmap { process, mapping }),
        3 => (own(), access()).prop_map(|((process, mapping), access)| {
            Step::Protect { process, mapping, access }
        }),
        3 => (0..CPUS, process()).prop_map(|(cpu, process)| Step::Enter { cpu, process }),
        1 => (0..CPUS).prop_map(|cpu| Step::Idle { cpu }),
        10 => (0..CPUS, register(), spot()).prop_map(|(cpu, mapping, (page, word))| {
            Step::Load { cpu, mapping, page, word }
        }),
        14 => store(),
        3 => (0..CPUS, register(), spot()).prop_map(|(cpu, mapping, (page, _))| {
            Step::Fetch { cpu, mapping, page }
        }),
        2 => (own(), pages()).prop_map(|((process, handle), (page, pages))| {
            Step::Commit { process, handle, page, pages }
        }),
        1 => own().prop_map(|(process, handle)| Step::Pin { process, handle }),
        2 => own().prop_map(|(process, handle)| Step::Unpin { process, handle }),
        3 => (own(), pages()).prop_map(|((process, handle), (page, pages))| {
            Step::Decommit { process, handle, page, pages }
        }),
        2 => (own(), spot()).prop_map(|((process, handle), (page, word))| {
            Step::Read { process, handle, page, word }
        }),
        3 => (own(), spot(), value()).prop_map(|((process, handle), (page, word), value)| {
            Step::Write { process, handle, page, word, value }
        }),
    ]
}

/// Tokens in good and in false hands.
fn tokens() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => grant(),
        2 => (process(), 0..TOKENS, process(), register()).prop_map(
            |(process, token, from, handle)| Step::Accept { process, token, from, handle }
        ),
        1 => (process(), 0..TOKENS).prop_map(|(process, token)| Step::Cancel { process, token }),
    ]
}

/// A few steps.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let one = prop_oneof![
        2 => create().boxed(),
        5 => map().boxed(),
        3 => snapshot().boxed(),
        5 => authority().boxed(),
        24 => memory().boxed(),
        4 => tokens().boxed(),
        1 => process().prop_map(|process| Step::Start { process }),
    ];
    prop_oneof![
        4 => one.prop_map(|step| vec![step]).boxed(),
        1 => together().boxed(),
    ]
}

/// A program of about so many steps at most.
pub fn program(length: usize) -> impl Strategy<Value = Program> {
    prop::collection::vec(steps(), 1..=length.div_ceil(2))
        .prop_map(|steps| repair(steps.into_iter().flatten()))
}
