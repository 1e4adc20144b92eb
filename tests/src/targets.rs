//! What each operation must cost, in guest instructions, and what it costs elsewhere.
//!
//! The figures of the peers were taken under the same rules as ours: one instruction is one tick
//! of QEMU's instruction counter on `-cpu max,-erms`, the least of many samples after warm-up, the
//! stub in user mode included. `linux` is Linux 6.1 as Debian's cloud kernel boots it and
//! `linux_lean` with the leanest boot parameters found; `sel4` is seL4 16 on its fast path.

/// One operation and its limits.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name in benchmark lines and in JSON.
    pub key: &'static str,
    /// What is measured.
    pub operation: &'static str,
    /// What others need, by name.
    pub peers: &'static [(&'static str, u64)],
    /// The measured count must be under this.
    pub must: u64,
    /// The count that we want.
    pub goal: u64,
}

impl Target {
    /// The peer that needs least.
    pub fn best_peer(&self) -> Option<(&'static str, u64)> {
        self.peers.iter().copied().min_by_key(|&(_, cost)| cost)
    }

    /// Where it is measured.
    pub fn place(&self) -> Place {
        let places = PLACES.iter().find(|(_, keys)| keys.contains(&self.key));
        places.map_or(Place::Anywhere, |&(place, _)| place)
    }
}

/// On which machines an operation is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On all.
    Anywhere,
    /// On those with one CPU: on several, others would have a share in it.
    OneCpu,
    /// On those with several CPUs.
    SeveralCpus,
}

/// The operations that are not measured everywhere.
const PLACES: &[(Place, &[&str])] = &[
    (
        Place::OneCpu,
        &[
            "signal",
            "notify_round_trip",
            "call_reply",
            "call_reply_deadline",
            "pass_capability",
            "ring_sleep_round_trip",
        ],
    ),
    (
        Place::SeveralCpus,
        &["shootdown_extra", "ring_sleep_other_cpu"],
    ),
];

/// All operations. `fault_shared` counts faults, not instructions.
pub const TARGETS: &[Target] = &[
    Target {
        key: "null_syscall",
        operation: "null system call",
        peers: &[
            ("linux", 323),
            ("linux_lean", 309),
            ("linux_unknown_number", 195),
            ("sel4", 208),
        ],
        must: 195,
        goal: 60,
    },
    Target {
        key: "notify_round_trip",
        operation: "notification round trip, two processes",
        peers: &[("linux", 8602), ("linux_lean", 6725), ("sel4", 1450)],
        must: 1450,
        goal: 500,
    },
    Target {
        key: "call_reply",
        operation: "call and reply, two processes, register form, 4 words",
        peers: &[("linux", 10_495), ("linux_lean", 8578), ("sel4", 433)],
        must: 433,
        goal: 300,
    },
    Target {
        key: "call_reply_deadline",
        operation: "the same with a deadline",
        peers: &[],
        must: 460,
        goal: 420,
    },
    Target {
        key: "ring_sleep_round_trip",
        operation: "ring message with sleep and wake both ways",
        peers: &[("linux", 9071), ("linux_lean", 7686)],
        must: 1450,
        goal: 600,
    },
    Target {
        key: "signal",
        operation: "signal, nobody waits",
        peers: &[("linux", 1069), ("linux_lean", 1055), ("sel4", 350)],
        must: 350,
        goal: 120,
    },
    Target {
        key: "sub_nop_of_32",
        operation: "submission-ring nop, each of a batch of 32",
        peers: &[("linux", 276), ("linux_lean", 271)],
        must: 271,
        goal: 50,
    },
    Target {
        key: "derive_drop",
        operation: "derive and drop a capability",
        peers: &[("linux", 924), ("linux_lean", 896), ("sel4", 1360)],
        must: 448,
        goal: 120,
    },
    Target {
        key: "pass_capability",
        operation: "pass a capability to another process and get a reply",
        peers: &[("linux", 20_435), ("linux_lean", 15_870), ("sel4", 1909)],
        must: 1909,
        goal: 450,
    },
    Target {
        key: "revoke_0",
        operation: "revoke, nothing below",
        peers: &[("sel4", 508)],
        must: 508,
        goal: 150,
    },
    Target {
        key: "revoke_child",
        operation: "revoke, each further child",
        peers: &[("sel4", 223)],
        must: 223,
        goal: 25,
    },
    Target {
        key: "map_1",
        operation: "map a committed region of 1 page",
        peers: &[("linux", 15_312), ("linux_lean", 14_054), ("sel4", 673)],
        must: 673,
        goal: 250,
    },
    Target {
        key: "map_512",
        operation: "map a committed region of 512 pages",
        peers: &[("linux", 656_574), ("linux_lean", 626_637), ("sel4", 668)],
        must: 673,
        goal: 260,
    },
    Target {
        key: "map_262144",
        operation: "map a committed region of 262,144 pages",
        peers: &[("linux_lean", 108_789_760), ("sel4", 342_016)],
        must: 20_000,
        goal: 8000,
    },
    Target {
        key: "unmap_1",
        operation: "unmap a region of 1 page",
        peers: &[("linux", 2839), ("linux_lean", 2700), ("sel4", 581)],
        must: 581,
        goal: 200,
    },
    Target {
        key: "unmap_512",
        operation: "unmap a region of 512 pages",
        peers: &[
            ("linux", 270_738),
            ("linux_lean", 224_481),
            ("sel4", 297_472),
        ],
        must: 700,
        goal: 260,
    },
    Target {
        key: "protect_1",
        operation: "take write access from a mapping of 1 page",
        peers: &[("linux", 2988), ("linux_lean", 2913), ("sel4", 677)],
        must: 677,
        goal: 200,
    },
    Target {
        key: "protect_512",
        operation: "take write access from a mapping of 512 pages",
        peers: &[("linux", 70_620), ("linux_lean", 70_545), ("sel4", 346_624)],
        must: 700,
        goal: 260,
    },
    Target {
        key: "fault_shared",
        operation: "faults taken when 512 pages that another process has faulted in are touched",
        peers: &[("linux", 512), ("linux_fault_around", 32), ("sel4", 512)],
        must: 1,
        goal: 0,
    },
    Target {
        key: "fault_zero",
        operation: "demand-zero fault, zeroing included",
        peers: &[("linux", 2776), ("linux_lean", 2404)],
        must: 1200,
        goal: 750,
    },
    Target {
        key: "frame_cached",
        operation: "take a frame that the CPU keeps and give it back, within the kernel",
        peers: &[],
        must: 120,
        goal: 60,
    },
    Target {
        key: "look_up",
        operation: "find what a handle stands for and that it may be used so, within the kernel",
        peers: &[],
        must: 26,
        goal: 26,
    },
    Target {
        key: "cow_copy",
        operation: "copy-on-write fault, copy of 4 KiB included",
        peers: &[("linux", 3945), ("linux_lean", 3008), ("sel4", 2876)],
        must: 1400,
        goal: 900,
    },
    Target {
        key: "cow_first_in_leaf",
        operation: "first copy-on-write fault in a shared leaf table of 512 present pages",
        peers: &[],
        must: 8000,
        goal: 5500,
    },
    Target {
        key: "cow_last",
        operation: "copy-on-write fault of the last owner",
        peers: &[("linux", 1386), ("linux_lean", 1289)],
        must: 600,
        goal: 250,
    },
    Target {
        key: "snapshot_1",
        operation: "snapshot of 1 committed page (peers: fork, exit and wait)",
        peers: &[("linux", 118_991), ("linux_lean", 104_217)],
        must: 1500,
        goal: 600,
    },
    Target {
        key: "snapshot_512",
        operation: "snapshot of 512 committed pages (peers: fork, exit and wait)",
        peers: &[("linux", 118_991), ("linux_lean", 104_217)],
        must: 1500,
        goal: 600,
    },
    Target {
        key: "snapshot_262144",
        operation: "snapshot of 262,144 committed pages",
        peers: &[],
        must: 30_000,
        goal: 12_000,
    },
    Target {
        key: "move_1",
        operation: "Move of a mapped region of 1 page, grant and accept",
        peers: &[],
        must: 1500,
        goal: 700,
    },
    Target {
        key: "move_512",
        operation: "Move of a mapped region of 512 pages, grant and accept",
        peers: &[],
        must: 1500,
        goal: 700,
    },
    Target {
        key: "life_1",
        operation: "create, commit, map, touch, unmap, destroy: 1 page",
        peers: &[("linux", 36_363), ("linux_lean", 33_811), ("sel4", 5464)],
        must: 5464,
        goal: 1600,
    },
    Target {
        key: "life_256",
        operation: "create, commit, map, touch, unmap, destroy: 256 pages",
        peers: &[
            ("linux", 1_979_139),
            ("linux_lean", 1_602_130),
            ("sel4", 1_024_972),
        ],
        must: 180_000,
        goal: 170_000,
    },
    Target {
        key: "shootdown_extra",
        operation: "TLB shootdown of one page, other CPU running, extra over both CPUs",
        peers: &[("linux", 801), ("sel4", 323)],
        must: 323,
        goal: 200,
    },
    Target {
        key: "spawn_second",
        operation: "second instance of a program, to its first instruction (peers: fork, exit and wait)",
        peers: &[("linux", 118_991), ("linux_lean", 104_217)],
        must: 30_000,
        goal: 10_000,
    },
    Target {
        key: "ring_sleep_other_cpu",
        operation: "ring message that wakes a sleeper on the other CPU, its barrier included, both CPUs (peers: membarrier alone)",
        peers: &[("linux", 1470), ("linux_lean", 1413)],
        must: 2900,
        goal: 1400,
    },
];
