//! The fixed limits of this kernel. Going over one is [`Error::Limit`](crate::Error::Limit) or
//! [`Error::TooLarge`](crate::Error::TooLarge), as the call says.

/// Bytes of a page.
pub const PAGE_SIZE: u64 = 4096;

/// Bytes of address space behind one leaf table: the unit of mappings, sub-ranges and `protect`.
pub const LEAF_SIZE: u64 = 2 << 20;

/// The first address that a program may map.
pub const USER_START: u64 = LEAF_SIZE;

/// The end of what a program may map. The last 2 MiB of the lower half are never mapped, so that
/// no instruction ends at a non-canonical address.
pub const USER_END: u64 = (1 << 47) - LEAF_SIZE;

/// Where room is looked for when a mapping is given no place: at a random GiB from here on, and below
/// only when nothing is free above. The places below are for programs to choose by
/// [`MapFlags::FIXED`](crate::MapFlags::FIXED).
pub const PLACED_FROM: u64 = 1 << 42;

/// CPUs at most.
pub const MAX_CPUS: usize = 64;

/// NUMA nodes whose memory is told apart; memory of further ones counts as the last one's.
pub const MAX_MEMORY_NODES: usize = 8;

/// Bytes of one region at most.
pub const MAX_REGION: u64 = 1 << 40;

/// Regions of device memory at most, over all processes.
pub const MAX_DEVICE_REGIONS: usize = 1024;

/// Live handles of one process at most.
pub const MAX_HANDLES: usize = 4096;

/// Capabilities of one object at most, over all processes.
pub const MAX_NODES: usize = 16_384;

/// Grants that one process may have pending.
pub const MAX_GRANTS: usize = 256;

/// Accounts on the way from that of a process to the root, the root included: how deep processes
/// can start one another.
pub const MAX_ACCOUNT_DEPTH: u32 = 32;

/// Processes at most.
pub const MAX_PROCESSES: usize = 256;

/// Handles that `process_spawn` can pass.
pub const MAX_SPAWN_HANDLES: u64 = 32;

/// Bytes of the name of a process.
pub const MAX_NAME: u64 = 32;

/// Bytes of the arguments of a process.
pub const MAX_ARGS: u64 = 16 << 10;

/// Bytes of one `debug_write`.
pub const MAX_DEBUG_WRITE: u64 = 4096;

/// Bytes of address space that the segments of an image may span.
pub const MAX_IMAGE_SPAN: u64 = 1 << 30;

/// Bytes of the stack of a process. The page below it is never mapped.
pub const STACK_SIZE: u64 = 1 << 20;

/// Pins of one region, all capabilities together.
pub const MAX_PINS: usize = 4096;

/// Capabilities that may be derived below one that was handed over by Share, or half of what its giver
/// has left if that is less.
pub const DEFAULT_NODES: u32 = 64;

/// Threads at most, over all processes.
pub const MAX_THREADS: usize = 1024;

/// The most urgent priority. 1 is the least.
pub const MAX_PRIORITY: u32 = 31;

/// How urgent a process is that nobody says anything of.
pub const DEFAULT_PRIORITY: u32 = 16;

/// Bytes of a message on a channel.
pub const MAX_MESSAGE: usize = 256;

/// Capabilities that a message on a channel can carry.
pub const MAX_MESSAGE_HANDLES: usize = 4;

/// Messages that an end of a channel can queue.
pub const MAX_CHANNEL_MESSAGES: u32 = 64;

/// Bindings of one port.
pub const MAX_BINDINGS: usize = 1024;

/// Bindings of one object, of all ports together.
pub const MAX_WATCHES: usize = 1024;

/// Those of one object that others than its first capability can make: whoever may wait for it leaves
/// room for who made it.
pub const MAX_SHARED_WATCHES: usize = MAX_WATCHES / 4 * 3;

/// Packets that one `port_wait` takes.
pub const MAX_PACKETS: u64 = 64;

/// The bits of a notification, and of a badge.
pub const NOTIFICATION_BITS: u64 = (1 << 63) - 1;

/// Submission rings of one process.
pub const MAX_SUBMISSION_RINGS: usize = 64;

/// Handles that one process can have registered with its submission rings.
pub const MAX_REGISTERED: usize = 1 << 16;

/// For how long the thread of a submission ring looks for entries in vain before it sleeps, in us, at most.
pub const MAX_IDLE_US: u32 = 100_000;

/// Bytes that one `region_copy` copies.
pub const MAX_COPY: u64 = 64 * PAGE_SIZE;

/// The shortest period of a timer, in ns.
pub const MIN_TIMER_PERIOD: u64 = 100_000;

/// How often in a row those who go to sleep at an asymmetric ring have the CPUs of its other end
/// interrupted. Who sleeps more often looks again by itself.
pub const RING_BARRIERS: u64 = 64;

/// How long it takes until they may once more, in ns.
pub const RING_BARRIER_NS: u64 = 16_000;
