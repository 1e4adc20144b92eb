//! What a capability allows, and how an object is handed over.

use bitflags::bitflags;

bitflags! {
    /// What the holder of a capability may do. Deriving, granting and reducing only ever take
    /// rights away.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    #[repr(transparent)]
    pub struct Rights: u32 {
        /// Map for reading; copy out of.
        const READ = 1 << 0;
        /// Map for writing; copy into.
        const WRITE = 1 << 1;
        /// Map for execution; spawn.
        const EXECUTE = 1 << 2;
        /// Map at all.
        const MAP = 1 << 3;
        /// Grant to another process at all.
        const GRANT = 1 << 4;
        /// Give away by Move.
        const MOVE = 1 << 5;
        /// Derive, and give by Share.
        const DUPLICATE = 1 << 6;
        /// Seal.
        const SEAL = 1 << 7;
        /// Revoke what was derived from this capability.
        const REVOKE = 1 << 8;
        /// Destroy the object, or kill the process.
        const DESTROY = 1 << 9;
        /// Wake the other side.
        const SIGNAL = 1 << 10;
        /// Wait.
        const WAIT = 1 << 11;
        /// Put messages in.
        const SEND = 1 << 12;
        /// Take messages out.
        const RECEIVE = 1 << 13;
        /// Read facts about the object.
        const INSPECT = 1 << 14;
        /// Change how the object works.
        const MANAGE = 1 << 15;
    }
}

impl Rights {
    /// The rights by which memory is reached.
    pub const ACCESS: Rights = Rights::READ.union(Rights::WRITE).union(Rights::EXECUTE);

    /// What the creator of a region gets.
    pub const REGION: Rights = Rights::READ
        .union(Rights::WRITE)
        .union(Rights::MAP)
        .union(Rights::GRANT)
        .union(Rights::MOVE)
        .union(Rights::DUPLICATE)
        .union(Rights::SEAL)
        .union(Rights::REVOKE)
        .union(Rights::DESTROY)
        .union(Rights::INSPECT);

    /// What the creator of an image gets.
    pub const IMAGE: Rights = Rights::EXECUTE
        .union(Rights::GRANT)
        .union(Rights::MOVE)
        .union(Rights::DUPLICATE)
        .union(Rights::REVOKE)
        .union(Rights::DESTROY)
        .union(Rights::INSPECT);

    /// What both ends of a ring have. DUPLICATE is never among them: two holders of one end
    /// would break its single-producer, single-consumer rule.
    const RING_END: Rights = Rights::MAP
        .union(Rights::REVOKE)
        .union(Rights::GRANT)
        .union(Rights::MOVE)
        .union(Rights::SIGNAL)
        .union(Rights::WAIT)
        .union(Rights::INSPECT);

    /// What the creator of a ring gets at the producing end.
    pub const RING_PRODUCER: Rights = Rights::RING_END.union(Rights::SEND);

    /// What the creator of a ring gets at the consuming end.
    pub const RING_CONSUMER: Rights = Rights::RING_END.union(Rights::RECEIVE);

    /// What the first holder of a resource gets.
    pub const RESOURCE: Rights = Rights::GRANT
        .union(Rights::MOVE)
        .union(Rights::DUPLICATE)
        .union(Rights::REVOKE)
        .union(Rights::INSPECT)
        .union(Rights::MANAGE);

    /// What the parent of a process gets.
    pub const PROCESS: Rights = Rights::WAIT
        .union(Rights::DESTROY)
        .union(Rights::INSPECT)
        .union(Rights::GRANT)
        .union(Rights::MOVE)
        .union(Rights::DUPLICATE)
        .union(Rights::REVOKE)
        .union(Rights::MANAGE);

    /// What every capability of a message or a wait can have besides its use.
    const SHARED: Rights = Rights::GRANT
        .union(Rights::MOVE)
        .union(Rights::DUPLICATE)
        .union(Rights::REVOKE)
        .union(Rights::INSPECT);

    /// What the creator of a notification gets.
    pub const NOTIFICATION: Rights = Rights::SHARED.union(Rights::SIGNAL).union(Rights::WAIT);

    /// What the creator of a port gets.
    pub const PORT: Rights = Rights::SHARED.union(Rights::WAIT).union(Rights::MANAGE);

    /// What the creator of a channel gets at each end.
    pub const CHANNEL_END: Rights = Rights::SHARED
        .union(Rights::SEND)
        .union(Rights::RECEIVE)
        .union(Rights::WAIT)
        .union(Rights::MANAGE);

    /// What the receiver of a call gets.
    pub const REPLY: Rights = Rights::SEND.union(Rights::GRANT).union(Rights::MOVE);

    /// What the creator of a timer gets.
    pub const TIMER: Rights = Rights::SHARED.union(Rights::MANAGE);

    /// What the creator of an interrupt gets.
    pub const INTERRUPT: Rights = Rights::SHARED;

    /// What the creator of a hub gets, who is its host as long as it has this: never MOVE. SEND is the right to
    /// join.
    pub const HUB: Rights = Rights::GRANT
        .union(Rights::DUPLICATE)
        .union(Rights::REVOKE)
        .union(Rights::INSPECT)
        .union(Rights::SEND)
        .union(Rights::WAIT)
        .union(Rights::MANAGE);

    /// What who reserves a seat at a hub gets. Never DUPLICATE: a seat has one guest.
    pub const HUB_MEMBER: Rights = Rights::GRANT
        .union(Rights::MOVE)
        .union(Rights::REVOKE)
        .union(Rights::INSPECT)
        .union(Rights::SIGNAL)
        .union(Rights::WAIT)
        .union(Rights::MANAGE);

    /// What the host gets to reach one guest: no right by which only a guest does something.
    pub const HUB_LINK: Rights = Rights::GRANT.union(Rights::INSPECT).union(Rights::WAIT);

    /// What a guest gets of the table of its hub.
    pub const HUB_TABLE: Rights = Rights::READ.union(Rights::MAP).union(Rights::INSPECT);

    /// What the creator of a submission ring gets. GRANT is never among them: it stays with its process,
    /// with whose capabilities it works.
    pub const SUBMISSION_RING: Rights = Rights::MAP
        .union(Rights::SEND)
        .union(Rights::WAIT)
        .union(Rights::REVOKE)
        .union(Rights::INSPECT);

    /// What the creator of a thread gets.
    pub const THREAD: Rights = Rights::SHARED.union(Rights::WAIT).union(Rights::MANAGE);
}

bitflags! {
    /// How `region_create` makes a region.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(transparent)]
    pub struct RegionFlags: u32 {
        /// Fill every page now instead of at its first touch.
        const COMMIT = 1 << 0;
        /// Give the EXECUTE right. Nobody maps the region for execution while somebody may write it,
        /// or the other way round: that is `Busy`.
        const EXECUTE = 1 << 1;
        /// With EXECUTE: let one mapping write while another executes. No mapping ever does both.
        const JIT = 1 << 2;
        /// Promise nothing: pages come from free memory when they are touched, and when there is none
        /// the region is lost.
        const OVERCOMMIT = 1 << 3;
        /// Frames that follow one another, all of them there from the beginning, and the MANAGE
        /// right, by which `region_info` tells where. Not with another flag but COMMIT.
        const CONTIGUOUS = 1 << 4;
    }
}

bitflags! {
    /// How `region_snapshot` makes a snapshot.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(transparent)]
    pub struct SnapshotFlags: u32 {
        /// Promise nothing for copies: when one needs memory that is not there, the snapshot is
        /// lost, never its source.
        const OVERCOMMIT = 1 << 0;
    }
}

bitflags! {
    /// How `grant` hands over.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(transparent)]
    pub struct GrantFlags: u32 {
        /// Before a Move, revoke what was derived from the capability; needs REVOKE.
        const REVOKE_OTHERS = 1 << 0;
        /// Make the snapshot of CopyOnWrite with [`SnapshotFlags::OVERCOMMIT`].
        const OVERCOMMIT = 1 << 1;
    }
}

bitflags! {
    /// Where `map` may place a mapping.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(transparent)]
    pub struct MapFlags: u32 {
        /// At the hint and nowhere else: `Overlap` if it is taken. Without it the hint is a wish.
        const FIXED = 1 << 0;
        /// Leave 2 MiB on both sides in which nothing else is mapped.
        const GUARD = 1 << 1;
    }
}

bitflags! {
    /// What `cap_revoke` kills.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(transparent)]
    pub struct RevokeFlags: u32 {
        /// The capability itself too, not only what is below it.
        const ITSELF = 1 << 0;
    }
}

bitflags! {
    /// What `cap_derive_with` makes of a capability besides narrowing it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(transparent)]
    pub struct DeriveFlags: u32 {
        /// The first call on its object that succeeds uses it up; while one is at it, others are
        /// `Busy`. It can be moved, told about and dropped, but neither derived nor shared.
        const ONE_SHOT = 1 << 0;
    }
}

bitflags! {
    /// What can hold for an object, for `object_wait` and `port_bind`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(transparent)]
    pub struct Events: u32 {
        /// A channel end has a message; the consumer of a ring may have one; a hub has a guest to look at.
        const READABLE = 1 << 0;
        /// A channel end has room for a message to its peer; the producer of a ring may have.
        const WRITABLE = 1 << 1;
        /// The other end of a channel or ring is gone, or whoever is at the other side of a seat at a hub.
        const PEER_CLOSED = 1 << 2;
        /// A bit of a notification is set.
        const SIGNALED = 1 << 3;
        /// A process or a thread has ended.
        const ENDED = 1 << 4;
        /// A thread of a process has stopped at a fault. A process that somebody waits at for this
        /// by a port is not ended by a fault.
        const FAULTED = 1 << 5;
    }
}

bitflags! {
    /// How `port_bind` has a port told.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(transparent)]
    pub struct BindFlags: u32 {
        /// Tell when an event begins to hold or happens again, and not as long as it holds.
        const EDGE = 1 << 0;
        /// Tell once; then the binding is gone.
        const ONCE = 1 << 1;
    }
}

bitflags! {
    /// How `process_spawn` starts a process.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(transparent)]
    pub struct SpawnFlags: u32 {
        /// Do not run it before `process_resume`.
        const STOPPED = 1 << 0;
    }
}

/// The way in which memory changes hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Mode {
    /// The receiver gets it and the sender loses it: at no instant can both reach it.
    Move = 0,
    /// Both have it, the receiver with at most the rights that were granted.
    Share = 1,
    /// The receiver gets a snapshot.
    CopyOnWrite = 2,
}

impl Mode {
    /// The mode of this number.
    pub const fn from_code(code: u64) -> Option<Mode> {
        match code {
            0 => Some(Mode::Move),
            1 => Some(Mode::Share),
            2 => Some(Mode::CopyOnWrite),
            _ => None,
        }
    }
}
