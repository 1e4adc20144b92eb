//! What the kernel's records count for in the `bytes` of an account. Each is at least what the kernel
//! takes for it from its heap, whatever the heap rounds up to; the kernel asserts that.

/// An object, and the first places in the tree of its capabilities. Whoever has the first capability
/// pays, besides [`CAPABILITY`].
pub const OBJECT: u64 = 4096;

/// A capability: its place in the tree, and a handle or a token. Whoever has it pays; after its
/// handle was dropped, who had it last.
pub const CAPABILITY: u64 = 384;

/// A region, besides [`OBJECT`].
pub const REGION: u64 = 1024;

/// Each leaf table of a region.
pub const LEAF_TABLE: u64 = 16;

/// A ring, besides [`REGION`].
pub const RING: u64 = 512;

/// Each page of a ring.
pub const RING_PAGE: u64 = 8;

/// A hub, besides [`OBJECT`] and its table. The host pays.
pub const HUB: u64 = 4096;

/// Each seat of a hub, whether anybody has it or not. The host pays, and for both ends of both rings as long
/// as somebody has the seat.
pub const HUB_SEAT: u64 = 1024;

/// Each page that the kernel writes of a trace.
pub const TRACE_PAGE: u64 = 16;

/// A mapping, until its addresses can be used again.
pub const MAPPING: u64 = 384;

/// A pin, besides the capability that it belongs to.
pub const PIN: u64 = 16;

/// A binding of a port. Whoever made it pays.
pub const BINDING: u64 = 256;

/// An address space, besides its page tables, and the first places of a table of handles.
pub const SPACE: u64 = 4096;

/// Each further 64 places of a table of handles. They stay until the process ends.
pub const HANDLES: u64 = 2048;

/// A channel, besides the two [`OBJECT`]s that are its ends.
pub const CHANNEL: u64 = 2048;

/// Each place for a message at an end of a channel. They are made in fours.
pub const MESSAGE: u64 = 512;

/// What a thread keeps for calls, from its first one until it ends. A call that was given up leaves one
/// behind, which counts until whoever received it lets it go.
pub const REPLY: u64 = 2048;

/// A process: its record, its thread and its kernel stack. It counts until nobody has a handle of it.
pub const PROCESS: u64 = 32 << 10;

/// A thread besides the first of its process: its record and its kernel stack, besides [`OBJECT`]. It
/// counts until it has ended and nobody has a handle of it.
pub const THREAD: u64 = 24 << 10;

/// A submission ring, besides [`OBJECT`] and its two [`REGION`]s.
pub const SUBMISSION_RING: u64 = 8192;

/// What a process keeps for handles that are registered: once, and each 64 places again.
pub const REGISTRAR: u64 = 4096;

/// Each 64 places for registered handles that a submission ring knows.
pub const REGISTERED: u64 = 2048;

/// An operation of a submission ring that waits, besides what it watches by a [`BINDING`].
pub const PENDING: u64 = 512;

/// Each 64 operations of a submission ring that wait at once, besides the first 64. It counts until the ring ends.
pub const WAITING: u64 = 2560;

/// Each entry that is linked behind one that waits.
pub const LINKED: u64 = 128;
