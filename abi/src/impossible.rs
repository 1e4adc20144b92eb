//! What can't be made, as tests ask for it of each who has to refuse it: the decoder, the library, and the kernel.

use crate::limits::MAX_IDLE_US;
use crate::submission::{MAX_COMPLETIONS, MAX_ENTRIES, SubmissionArgs, SubmissionRingFlags};
use crate::{Error, HubGeometry, RingGeometry};

const RING: RingGeometry = RingGeometry::slot(64, 16);

/// Rings, each of which is `Invalid`.
pub const RINGS: &[RingGeometry] = &[
    RingGeometry { kind: 0, ..RING },
    RingGeometry { kind: 4, ..RING },
    RingGeometry {
        kind: u32::MAX,
        ..RING
    },
    RingGeometry { form: 3, ..RING },
    RingGeometry {
        reserved: 1,
        ..RING
    },
    RingGeometry::slot(0, 16),
    RingGeometry::slot(65, 16),
    RingGeometry::slot(65536 + 64, 16),
    RingGeometry::slot(u32::MAX, 16),
    RingGeometry::slot(64, 0),
    RingGeometry::slot(64, 3),
    RingGeometry::slot(64, 1 << 31 | 1),
    RingGeometry::slot(64, u32::MAX),
    RingGeometry::byte(0),
    RingGeometry::byte(2048),
    RingGeometry::byte(4095),
    RingGeometry::byte(4097),
    RingGeometry::byte(1 << 31 | 1 << 30),
    RingGeometry {
        slot_size: 64,
        ..RingGeometry::byte(4096)
    },
    RingGeometry::packet(0),
    RingGeometry::packet(6000),
    RingGeometry {
        slot_size: 64,
        ..RingGeometry::packet(4096)
    },
    RingGeometry::packet(4096).starting_at(4),
];

const HUB: HubGeometry = HubGeometry::slot(2, 64, 8, 8);

/// Hubs, each of which is `Invalid`: for itself, or for its rings in one direction.
pub const HUBS: &[HubGeometry] = &[
    HubGeometry { guests: 0, ..HUB },
    HubGeometry { guests: 256, ..HUB },
    HubGeometry {
        guests: u32::MAX,
        ..HUB
    },
    HubGeometry { reserved: 1, ..HUB },
    HubGeometry {
        heartbeat_ns: 1 << 62,
        ..HUB
    },
    HubGeometry { kind: 0, ..HUB },
    HubGeometry { kind: 9, ..HUB },
    HubGeometry::slot(2, 0, 8, 8),
    HubGeometry::slot(2, 65, 8, 8),
    HubGeometry::slot(2, 65536 + 64, 8, 8),
    HubGeometry::slot(2, u32::MAX, 8, 8),
    HubGeometry::slot(2, 64, 0, 8),
    HubGeometry::slot(2, 64, 8, 0),
    HubGeometry::slot(2, 64, 3, 8),
    HubGeometry::slot(2, 64, 8, 1 << 31 | 1),
    HubGeometry::slot(2, 64, u32::MAX, u32::MAX),
    HubGeometry::byte(2, 0, 4096),
    HubGeometry::byte(2, 4096, 2048),
    HubGeometry::packet(2, 6000, 4096),
    HubGeometry {
        slot_size: 64,
        ..HubGeometry::packet(2, 4096, 4096)
    },
];

const SUBMISSION: SubmissionArgs = SubmissionArgs::new(4, 4);

/// Submission rings, each with what it is refused for.
pub const SUBMISSIONS: &[(SubmissionArgs, Error)] = &[
    (SubmissionArgs::new(0, 0), Error::Invalid),
    (SubmissionArgs::new(0, 8), Error::Invalid),
    (SubmissionArgs::new(3, 0), Error::Invalid),
    (SubmissionArgs::new(3, 4), Error::Invalid),
    (SubmissionArgs::new(4, 6), Error::Invalid),
    (SubmissionArgs::new(4, 2), Error::Invalid),
    (SubmissionArgs::new(MAX_ENTRIES - 1, 0), Error::Invalid),
    (
        SubmissionArgs::new(MAX_ENTRIES, MAX_COMPLETIONS - 1),
        Error::Invalid,
    ),
    (SubmissionArgs::new(MAX_ENTRIES + 1, 0), Error::TooLarge),
    (SubmissionArgs::new(2 * MAX_ENTRIES, 0), Error::TooLarge),
    (SubmissionArgs::new(1, 2 * MAX_COMPLETIONS), Error::TooLarge),
    (
        SubmissionArgs::new(MAX_ENTRIES, MAX_COMPLETIONS + 1),
        Error::TooLarge,
    ),
    (SubmissionArgs::new(1 << 31, 0), Error::TooLarge),
    (SubmissionArgs::new(1 << 31, 1 << 31), Error::TooLarge),
    (SubmissionArgs::new(u32::MAX, 0), Error::TooLarge),
    (SubmissionArgs::new(u32::MAX, u32::MAX), Error::TooLarge),
    (SubmissionArgs::new(0, u32::MAX), Error::TooLarge),
    (
        SubmissionArgs {
            reserved: 1,
            ..SUBMISSION
        },
        Error::Invalid,
    ),
    (
        SubmissionArgs {
            flags: 2,
            ..SUBMISSION
        },
        Error::Invalid,
    ),
    (
        SubmissionArgs {
            flags: 1 << 31,
            ..SUBMISSION
        },
        Error::Invalid,
    ),
    // Of a thread that there is not.
    (
        SubmissionArgs {
            idle_us: 1,
            ..SUBMISSION
        },
        Error::Invalid,
    ),
    (
        SubmissionArgs {
            cpus: 1,
            ..SUBMISSION
        },
        Error::Invalid,
    ),
    (
        SubmissionArgs {
            flags: SubmissionRingFlags::POLL.bits(),
            idle_us: MAX_IDLE_US + 1,
            ..SUBMISSION
        },
        Error::TooLarge,
    ),
];
