//! Structures that cross the boundary by pointer. Reserved fields are zero on write and checked
//! on read; sizes and offsets are asserted.

use static_assertions::const_assert_eq;

use crate::{Error, FOREVER, Handle, Mode, Rights, limits};

/// A handle that `process_spawn` hands to the new process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct HandleTransfer {
    /// The capability.
    pub handle: Handle,
    /// How it is handed over: the number of a [`Mode`].
    pub mode: u32,
    /// What the new process may do with it at most.
    pub rights: u32,
}

impl HandleTransfer {
    /// A transfer of `handle` by `mode` with at most `rights`.
    pub const fn new(handle: Handle, mode: Mode, rights: Rights) -> HandleTransfer {
        HandleTransfer {
            handle,
            mode: mode as u32,
            rights: rights.bits(),
        }
    }

    /// Its mode and rights. Unknown numbers and bits are [`Error::Invalid`].
    pub fn decode(&self) -> Result<(Mode, Rights), Error> {
        let mode = Mode::from_code(self.mode as u64).ok_or(Error::Invalid)?;
        let rights = Rights::from_bits(self.rights).ok_or(Error::Invalid)?;
        Ok((mode, rights))
    }
}

const_assert_eq!(size_of::<HandleTransfer>(), 16);

/// An amount of each resource that accounts count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Resources {
    /// Pages of 4 KiB that regions hold or may still take: a region counts for its worst case from
    /// its creation to its end, and a page that several regions share counts for each.
    pub frames: u64,
    /// Page tables of 4 KiB: the leaf tables of regions, and what address spaces hang them on.
    pub tables: u64,
    /// Bytes of the kernel's heap for records, as [`cost`](crate::cost) says.
    pub bytes: u64,
}

impl Resources {
    /// Nothing.
    pub const NONE: Resources = Resources {
        frames: 0,
        tables: 0,
        bytes: 0,
    };

    /// More than there can be of anything.
    pub const ALL: Resources = Resources {
        frames: u64::MAX,
        tables: u64::MAX,
        bytes: u64::MAX,
    };

    /// Page tables alone.
    pub const fn tables(tables: u64) -> Resources {
        Resources {
            tables,
            ..Resources::NONE
        }
    }

    /// Pages alone.
    pub const fn frames(frames: u64) -> Resources {
        Resources {
            frames,
            ..Resources::NONE
        }
    }

    /// Bytes alone.
    pub const fn bytes(bytes: u64) -> Resources {
        Resources {
            bytes,
            ..Resources::NONE
        }
    }
}

const_assert_eq!(size_of::<Resources>(), 24);

/// What a region is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum RegionKind {
    /// Zeroed memory, filled at the first touch.
    Anonymous = 0,
    /// The segments of a program.
    Image = 1,
    /// The pages of a ring.
    Ring = 2,
    /// The file system that the loader brought; nobody can write it.
    Initrd = 3,
    /// A range of physical addresses that a device answers.
    Device = 4,
    /// Zeroed memory in one piece.
    Contiguous = 5,
    /// What the kernel writes and programs can only read: a trace, or the statistics.
    Kernel = 6,
}

/// Facts about a region, from `region_info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RegionInfo {
    /// Its number, never used twice.
    pub koid: u64,
    /// Its length in bytes.
    pub len: u64,
    /// Pages that are present.
    pub present_pages: u64,
    /// Its leaf tables.
    pub leaf_tables: u64,
    /// Mappings over all processes.
    pub mappings: u64,
    /// The number of a [`RegionKind`].
    pub kind: u32,
    /// 1 when it is sealed against writing: no byte of it changes any more, whoever holds it.
    pub sealed: u32,
    /// Leaves that are 2 MiB in one piece and have no table.
    pub large_leaves: u64,
    /// Leaves, of either kind, that a snapshot, or the source of one, has too.
    pub shared_leaves: u64,
    /// Pins, of all capabilities.
    pub pins: u32,
    /// 1 when it had overcommitted and its memory was needed: it can only be dropped.
    pub lost: u32,
    /// Where contiguous memory begins, told to who has MANAGE; else u64::MAX.
    pub physical_address: u64,
}

const_assert_eq!(size_of::<RegionInfo>(), 80);

/// Facts about a capability, from `cap_info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CapInfo {
    /// The number of the object, never used twice.
    pub koid: u64,
    /// What the capability allows.
    pub rights: u32,
    /// The number of an [`ObjectKind`](crate::ObjectKind).
    pub kind: u32,
    /// Capabilities derived from this one, at any depth.
    pub descendants: u64,
    /// What whoever receives through it is told; 0 if it has none.
    pub badge: u64,
    /// When it dies; u64::MAX stands for never.
    pub deadline: u64,
    /// Where the part of a region that it covers begins.
    pub offset: u64,
    /// Bytes of that part.
    pub len: u64,
    /// Capabilities that may still be derived below it.
    pub nodes_left: u32,
    /// [`DeriveFlags`](crate::DeriveFlags).
    pub flags: u32,
}

const_assert_eq!(size_of::<CapInfo>(), 64);

/// What `cap_derive_with` makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct DeriveArgs {
    /// What it allows at most: [`Rights`].
    pub rights: u32,
    /// [`DeriveFlags`](crate::DeriveFlags).
    pub flags: u32,
    /// Where the part of a region begins, a multiple of 2 MiB.
    pub offset: u64,
    /// Bytes of that part, a multiple of 2 MiB or up to the end; 0 stands for the rest.
    pub len: u64,
    /// What whoever receives through it is told, 63 bits; 0 keeps the parent's. A badge is never
    /// replaced by another: that is `Exists`.
    pub badge: u64,
    /// When it dies with all below it; u64::MAX stands for never.
    pub deadline: u64,
    /// Capabilities that may be derived below it, which the parent gives up until it is gone; none
    /// without DUPLICATE. 0: it shares those of its parent, as with `cap_derive`.
    pub max_nodes: u32,
    /// 0.
    pub reserved: u32,
}

const_assert_eq!(size_of::<DeriveArgs>(), 48);

impl DeriveArgs {
    /// What narrows nothing but the rights, as `cap_derive` does.
    pub const fn new(rights: Rights) -> DeriveArgs {
        DeriveArgs {
            rights: rights.bits(),
            flags: 0,
            offset: 0,
            len: 0,
            badge: 0,
            deadline: FOREVER,
            max_nodes: 0,
            reserved: 0,
        }
    }
}

/// What has gone through an object since it was made, from `object_info`. What a kind of object does
/// not have stays 0:
///
/// | object | messages | waits |
/// |---|---|---|
/// | channel end | those sent to it, and answers to calls made by it once the caller has them | for messages, room, the rate limit, answers, events |
/// | ring end | wakes asked for by the other end; its messages pass unseen | for the other end, for events |
/// | notification | signals | for bits, for events |
/// | port | packets delivered | for packets |
/// | timer, interrupt | times that it went off; the notification counts the signal, too | |
/// | hub | times that the host was told of a guest | of the host, for a guest; for events |
/// | submission ring | completions that were posted | for completions, of its own thread for entries, for events |
/// | process, thread | | for events |
///
/// The wait of `sub_unregister` for what uses a registered handle is at no object, and counts nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ObjectInfo {
    /// Its number, never used twice.
    pub koid: u64,
    /// The number of an [`ObjectKind`](crate::ObjectKind).
    pub kind: u32,
    /// Capabilities of it.
    pub capabilities: u32,
    /// Messages, as above.
    pub messages: u64,
    /// Bytes of those messages.
    pub bytes: u64,
    /// Waits that ended because something happened here: what they were for, the end of the other side,
    /// or of the capability. Not those that timed out, were cancelled or ended with their thread.
    pub wakes: u64,
    /// Waits that began here, by a capability of this object.
    pub waits: u64,
    /// Faults: of the pages of a region, if they were resolved; of the threads of a process, all.
    pub faults: u64,
    /// Times that it was handed over, by the number of the [`Mode`]. By CopyOnWrite counts at the
    /// source when the snapshot is made, and at the snapshot when it arrives.
    pub transfers: [u64; 3],
    /// Calls on it that were refused, by the number of the [`Error`]: those whose first argument was a
    /// handle of it. An entry of a submission ring counts by what it comes to, and not while it waits. At most
    /// 4,294,967,295 of each are counted.
    pub refusals: [u64; 32],
}

const_assert_eq!(size_of::<ObjectInfo>(), 336);

/// What a port tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PortPacket {
    /// The key of the binding.
    pub key: u64,
    /// Of `FAULTED`: the number of the thread. Else 0.
    pub value: u64,
    /// [`Events`](crate::Events) that hold, or have happened.
    pub events: u32,
    /// How often something happened since the last packet, at least 1.
    pub count: u32,
}

const_assert_eq!(size_of::<PortPacket>(), 24);

/// The memory of one NUMA node, from `system_info`, in frames of 4 KiB. What was given is counted
/// since boot; nothing is taken off when it is returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct NodeFrames {
    /// Frames that the allocator manages.
    pub total: u64,
    /// Frames that nobody holds, those promised to regions included.
    pub free: u64,
    /// Frames given to who asked for this node.
    pub given_as_asked: u64,
    /// Frames of other nodes given to who asked for this one, because it had none.
    pub given_elsewhere: u64,
    /// Frames given to who asked for no node.
    pub given_unasked: u64,
}

const_assert_eq!(size_of::<NodeFrames>(), 40);

/// What the system holds and has done, from `system_info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SystemInfo {
    /// CPUs that run.
    pub cpus: u32,
    /// NUMA nodes.
    pub nodes: u32,
    /// The CPU that answered.
    pub cpu: u32,
    /// Processes that have not been collected.
    pub processes: u32,
    /// Frames of 4 KiB that the allocator manages.
    pub frames_total: u64,
    /// Frames that nobody holds, those promised to regions included.
    pub frames_free: u64,
    /// Free frames that are promised to regions.
    pub frames_reserved: u64,
    /// Frames that boot took and that are never given back: the kernel, the initrd, its first
    /// stacks and tables, and what is known of each frame.
    pub frames_boot: u64,
    /// Frames that the kernel has taken for its heap and its stacks, or keeps for its heap.
    pub frames_heap: u64,
    /// Bytes of the kernel's heap that are allocated; what it keeps for later is not counted.
    pub heap_used: u64,
    /// System calls since boot.
    pub syscalls: u64,
    /// Faults of programs since boot.
    pub faults: u64,
    /// Interrupts since boot.
    pub interrupts: u64,
    /// TLB shootdowns that had to wait for another CPU.
    pub shootdowns: u64,
    /// The time-stamp counter. Under QEMU's `-icount shift=0` it counts executed instructions.
    pub instructions: u64,
    /// Objects alive: regions, rings and grants that are pending.
    pub objects: u64,
    /// Frames that the loader's memory map calls usable, those counted whole that it calls so in
    /// part. Always `frames_total + frames_boot + frames_unused`.
    pub frames_usable: u64,
    /// Usable frames that are left alone: below 1 MiB, usable in part only, or in more pieces than
    /// are kept.
    pub frames_unused: u64,
    /// The memory of each NUMA node.
    pub memory_nodes: [NodeFrames; limits::MAX_MEMORY_NODES],
    /// What is charged to all accounts together.
    pub charged: Resources,
    /// Interrupts among those that nobody wanted: of devices whose interrupt had ended, or for no reason.
    pub stray_interrupts: u64,
}

const_assert_eq!(size_of::<SystemInfo>(), 480);
