//! The one table of system calls, and what is generated from it here.

use crate::{Argument, Error, Rights};

/// Passes every system call to the macro named by the first argument.
///
/// An entry reads
/// `/// sentence` `number Name name(argument: Type, …) -> Type, rights [RIGHT …], errors [Error …];`
/// and the callback gets all of them at once, after the tokens given as further arguments in
/// parentheses. *Rights* are those that the first argument's capability needs; where a call needs
/// more, its sentence says so. Numbers are never used for something else.
#[macro_export]
macro_rules! for_each_syscall {
    ($callback:ident $(, $extra:tt)*) => {
        $callback! {
            ($($extra)*)

            /// Does nothing: what entering and leaving the kernel costs.
            0 Nop nop() -> (), rights [], errors [];
            /// Returns the version of the contract.
            1 AbiInfo abi_info() -> u64, rights [], errors [];
            /// Returns the monotonic clock in nanoseconds. It begins near 0 at boot.
            2 ClockNow clock_now() -> u64, rights [], errors [];
            /// Writes text to the console and returns the number of its bytes, at most 4,096. Those that are not printable ASCII, tab or newline appear as `?`.
            3 DebugWrite debug_write(bytes: UserPtr<u8>, len: u64) -> u64, rights [], errors [TooLarge, Fault, NoMemory];
            /// Lets other threads of this CPU run first.
            4 ThreadYield thread_yield() -> (), rights [], errors [];
            /// Ends the calling process with a status; everything that it held is returned, and every peer is told.
            5 Exit exit(status: u8) -> (), rights [], errors [Invalid];
            /// Fills in what the system holds and has done.
            6 SystemInfo system_info(info: UserPtr<SystemInfo>) -> (), rights [], errors [Fault];

            /// Starts a new process from an image, under a name of printable ASCII, with exactly the listed handles (in this order) and nothing else. All or nothing: when it fails, every handle is still the caller's. `Overlap`: one handle listed twice by Move. The process gets an account below the caller's, with the quota given; `Limit` is also more than 31 such accounts in a row.
            10 ProcessSpawn process_spawn(args: UserPtr<SpawnArgs>) -> Handle, rights [EXECUTE], errors [Fault, Invalid, BadHandle, WrongKind, Denied, InTransit, Shared, Pinned, Revoked, Overlap, Unsupported, TooLarge, Quota, NoMemory, Limit];
            /// Waits until a process has ended and tells how. Any number of waiters get the answer, each as often as it asks.
            11 ProcessWait process_wait(process: Handle, deadline: u64, status: UserPtr<ProcessStatus>) -> (), rights [WAIT], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Fault, WouldBlock, TimedOut, Interrupted, NoMemory];
            /// Ends a process as if it had called exit, wherever it is. Killing one that has ended is no error.
            12 ProcessKill process_kill(process: Handle) -> (), rights [DESTROY], errors [BadHandle, WrongKind, Denied, InTransit, Revoked];
            /// Tells facts about a process.
            13 ProcessInfo process_info(process: Handle, info: UserPtr<ProcessInfo>) -> (), rights [INSPECT], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Fault];

            /// Makes a region of `len` bytes of zeroed memory, in whole pages. Its worst case is charged to the account of the caller and reserved at once, so that touching it never fails for memory. `Quota`: the account does not cover it; `NoMemory`: the machine does not have it. Memory is cached by WriteBack alone: any other policy is `Unsupported`. `node` is the NUMA node preferred, or u64::MAX for none; frames come from elsewhere when it is full.
            20 RegionCreate region_create(len: u64, flags: RegionFlags, policy: CachePolicy, node: u64) -> Handle, rights [], errors [Invalid, Unsupported, TooLarge, Quota, NoMemory, Limit];
            /// Tells facts about a region.
            21 RegionInfo region_info(region: Handle, info: UserPtr<RegionInfo>) -> (), rights [INSPECT], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Fault];
            /// Takes writing away from everybody for good: every mapping is read-only on every CPU when it returns. `NoMemory`: it had overcommitted and is lost.
            22 RegionSeal region_seal(region: Handle) -> (), rights [SEAL], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Unsupported, NoMemory];
            /// Unmaps a region everywhere, kills every capability of it and returns its memory.
            23 RegionDestroy region_destroy(region: Handle) -> (), rights [DESTROY], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Pinned];
            /// Parses bytes of a region as a static ELF64 executable for x86_64 and makes an image of it. The region must be sealed, or one that nobody can write. `Invalid`: not such an executable, or one with segments that overlap, leave the user half, or are writable and executable.
            24 ImageCreate image_create(region: Handle, offset: u64, len: u64) -> Handle, rights [READ], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Range, Invalid, Unsupported, TooLarge, Quota, NoMemory, Limit];
            /// Fills pages of a region ahead of their first touch; units of 4 KiB, a length of 0 stands for the rest. What a snapshot shares stays shared. `NoMemory`: it had overcommitted and is lost.
            25 RegionCommit region_commit(region: Handle, offset: u64, len: u64) -> (), rights [WRITE], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Range, Align, Unsupported, NoMemory];
            /// Gives the frames of pages back to the promise of the region: they read as zeros again; units of 4 KiB, a length of 0 stands for the rest. No CPU can reach the old bytes when it returns. If another thread seals or pins the region meanwhile, some pages may have been given back already.
            26 RegionDecommit region_decommit(region: Handle, offset: u64, len: u64) -> (), rights [WRITE], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Range, Align, Sealed, Pinned, Unsupported, NoMemory];
            /// Makes a region that has the bytes of another, or of a part of it in units of 2 MiB, as they are at this instant; a length of 0 stands for the rest. Either side gets its own copy of a page when it writes. Needs also DUPLICATE. The cost grows with leaf tables, not with pages.
            27 RegionSnapshot region_snapshot(region: Handle, offset: u64, len: u64, flags: SnapshotFlags) -> Handle, rights [READ, DUPLICATE], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Range, Align, Pinned, Unsupported, Quota, NoMemory, Limit];
            /// Keeps the frames of a region where they are, all of them present: it can't be moved, copied, decommitted or destroyed until every pin is taken back. Pins belong to the capability and go with it. `Unsupported`: an image, or a region that overcommits.
            28 RegionPin region_pin(region: Handle) -> (), rights [MAP], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Unsupported, Quota, NoMemory, Limit];
            /// Takes one pin of the capability back. `NotFound`: it has none.
            29 RegionUnpin region_unpin(region: Handle) -> (), rights [MAP], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, NotFound];

            /// Maps `len` bytes of a region from `offset` on (both multiples of 2 MiB; a length of 0 or one that reaches the end of the region means up to the end) and returns the address, a multiple of 2 MiB. Needs the right for each access asked for. Writable and executable at once is `Invalid`, and `Busy` when another mapping has the other.
            30 Map map(region: Handle, hint: u64, offset: u64, len: u64, rights: Rights, flags: MapFlags) -> u64, rights [MAP], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Sealed, Invalid, Busy, Range, Align, Overlap, Quota, NoMemory, Limit];
            /// Removes the mapping that begins at an address. No CPU can reach the memory through it when it returns.
            31 Unmap unmap(address: u64) -> (), rights [], errors [NotFound];
            /// Changes what the mapping that begins at an address allows, within its capability.
            32 Protect protect(address: u64, rights: Rights) -> (), rights [], errors [NotFound, Denied, Revoked, Sealed, Invalid, Busy, NoMemory, Unsupported];

            /// Makes a capability of the same object with at most the given rights, below the given one: revoking that one takes this one too.
            40 CapDerive cap_derive(handle: Handle, rights: Rights) -> Handle, rights [DUPLICATE], errors [BadHandle, Denied, InTransit, Revoked, Quota, NoMemory, Limit];
            /// Gives a capability back. Mappings made under it stay until they are unmapped or revoked. The last one of an object takes the object along.
            41 CapDrop cap_drop(handle: Handle) -> (), rights [], errors [BadHandle, InTransit];
            /// Kills everything that was derived from a capability, at any depth and in every process: handles, tokens and mappings. No CPU can reach memory through them when it returns; returns how many capabilities died.
            42 CapRevoke cap_revoke(handle: Handle) -> u64, rights [REVOKE], errors [BadHandle, Denied, InTransit, Revoked];
            /// Tells facts about a capability.
            43 CapInfo cap_info(handle: Handle, info: UserPtr<CapInfo>) -> (), rights [], errors [BadHandle, InTransit, Revoked, Fault];
            /// Tells whether two handles name one object.
            44 CapSame cap_same(a: Handle, b: Handle) -> bool, rights [], errors [BadHandle, InTransit, Revoked];

            /// Offers an object to the process at the other end of `via` (a ring end, or a process that the caller holds), with at most the given rights. Needs GRANT, with Share also DUPLICATE, with Move also MOVE, with CopyOnWrite also READ and DUPLICATE: the receiver gets a snapshot, which it may also write. After Move the caller can't reach the object any more when this returns. `Shared`: another capability gives access to what is to be moved, or one derived from it has more rights than would be granted.
            50 Grant grant(handle: Handle, via: Handle, mode: Mode, rights: Rights, flags: GrantFlags) -> Token, rights [GRANT], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Shared, Pinned, Invalid, PeerClosed, Unsupported, Quota, NoMemory, Limit];
            /// Takes what the process at the other end of `via` offered to this one. Works once. From then on this process pays for the capability, and with the first capability of a region or image for its memory; after `Quota` and `NoMemory` the token is still good. Any token that is not for this process, not from there, used up or withdrawn is `NotFound`.
            51 Accept accept(token: Token, via: Handle) -> Handle, rights [], errors [BadHandle, WrongKind, InTransit, NotFound, Revoked, Quota, NoMemory, Limit];
            /// Withdraws a grant that was not accepted yet; what was moved comes back under its old handle.
            52 Cancel cancel(token: Token) -> (), rights [], errors [NotFound];

            /// Makes a ring and returns its two ends.
            60 RingCreate ring_create(geometry: UserPtr<RingGeometry>, ends: UserPtr<RingEnds>) -> (), rights [], errors [Fault, Invalid, Unsupported, TooLarge, Quota, NoMemory, Limit];
            /// Maps the view of one end: what this side owns is writable, the rest is not. Returns the address of its header page.
            61 RingMap ring_map(end: Handle) -> u64, rights [MAP], errors [BadHandle, WrongKind, Denied, InTransit, Exists, Revoked, Quota, NoMemory, Limit];
            /// Sleeps until the peer has moved its index past `seen`, has ended, or has called wake. The index is read again under the lock that a wake takes, so that none is lost.
            62 RingWait ring_wait(end: Handle, seen: u32, deadline: u64) -> (), rights [WAIT], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Invalid, Busy, WouldBlock, TimedOut, Interrupted];
            /// Wakes the peer if it sleeps.
            63 RingWake ring_wake(end: Handle) -> (), rights [SIGNAL], errors [BadHandle, WrongKind, Denied, InTransit, Revoked];
            /// Tells the geometry of a ring.
            64 RingInfo ring_info(end: Handle, geometry: UserPtr<RingGeometry>) -> (), rights [INSPECT], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Fault];

            /// Tells which physical addresses a resource covers.
            90 ResourceInfo resource_info(resource: Handle, info: UserPtr<ResourceInfo>) -> (), rights [INSPECT], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Fault];
            /// Makes a resource of a part of another, in whole pages. It is an object of its own: revoking what is below its first capability ends what others have of it, revoking the other resource does not. `Range`: it is not all within the other.
            91 ResourcePart resource_part(resource: Handle, address: u64, len: u64) -> Handle, rights [MANAGE], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Invalid, Align, Range, Quota, NoMemory, Limit];
            /// Makes a region of physical addresses within a resource, in whole pages, which a device answers and not memory. It has all its pages at once, can be mapped, shared and moved like any region and be neither sealed nor copied; the kernel reads and writes none of it. `Range`: not within the resource, or more than this machine can address. `Overlap`: memory, or registers that the kernel drives itself. `Exists`: a live region has some of it under another policy.
            92 RegionDevice region_device(resource: Handle, address: u64, len: u64, policy: CachePolicy) -> Handle, rights [MANAGE], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Invalid, Align, Range, Overlap, Exists, TooLarge, Unsupported, Quota, NoMemory, Limit];
        }
    };
}

/// One argument of a call, for documentation and tools.
#[derive(Clone, Copy, Debug)]
pub struct ArgumentInfo {
    /// Its name.
    pub name: &'static str,
    /// Its type here.
    pub ty: &'static str,
    /// Its type in C.
    pub c_type: &'static str,
}

/// One call, for documentation and tools.
#[derive(Clone, Copy, Debug)]
pub struct SyscallInfo {
    /// Its number.
    pub number: u64,
    /// Its name.
    pub name: &'static str,
    /// Its arguments, in the order of the registers.
    pub arguments: &'static [ArgumentInfo],
    /// What it returns.
    pub result: &'static str,
    /// The rights that the capability in its first argument must have.
    pub rights: &'static [Rights],
    /// The errors of its own; any call can also be `Invalid` for an argument that can't be decoded.
    pub errors: &'static [Error],
    /// What it does.
    pub doc: &'static str,
}

macro_rules! describe {
    (() $(
        $(#[doc = $doc:literal])*
        $number:literal $variant:ident $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty,
        rights [$($right:ident),*], errors [$($error:ident),*];
    )*) => {
        /// The number of every call.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u64)]
        pub enum Syscall { $($(#[doc = $doc])* $variant = $number,)* }

        impl Syscall {
            /// The call of this number.
            pub const fn from_number(number: u64) -> Option<Syscall> {
                match number { $($number => Some(Syscall::$variant),)* _ => None }
            }

            /// The rights that the capability in its first argument must have.
            pub const fn rights(self) -> Rights {
                match self { $(Syscall::$variant => Rights::empty()$(.union(Rights::$right))*,)* }
            }
        }

        /// Every call, by number.
        pub const SYSCALLS: &[SyscallInfo] = &[$(SyscallInfo {
            number: $number,
            name: stringify!($name),
            arguments: &[$(ArgumentInfo {
                name: stringify!($arg),
                ty: stringify!($ty),
                c_type: <$ty as Argument>::C_NAME,
            }),*],
            result: <$ret as Argument>::NAME,
            rights: &[$(Rights::$right),*],
            errors: &[$(Error::$error),*],
            doc: concat!($($doc),*),
        },)*];
    };
}

use crate::types::CapInfo;
use crate::{
    CachePolicy, GrantFlags, Handle, MapFlags, Mode, ProcessInfo, ProcessStatus, RegionFlags,
    RegionInfo, ResourceInfo, RingEnds, RingGeometry, SnapshotFlags, SpawnArgs, SystemInfo, Token,
    UserPtr,
};

for_each_syscall!(describe);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_used_once_and_finds_its_call() {
        for pair in SYSCALLS.windows(2) {
            assert!(pair[0].number < pair[1].number, "{}", pair[1].name);
        }
        for call in SYSCALLS {
            assert_eq!(
                Syscall::from_number(call.number).map(|c| c as u64),
                Some(call.number)
            );
        }
        assert_eq!(Syscall::from_number(9), None);
    }

    #[test]
    fn no_call_has_more_arguments_than_registers() {
        assert!(SYSCALLS.iter().all(|call| call.arguments.len() <= 6));
    }

    #[test]
    fn every_outcome_survives_the_register() {
        for &error in Error::ALL {
            assert_eq!(crate::decode(crate::encode(Err(error))), Err(error));
        }
        assert_eq!(crate::decode(crate::encode(Ok(1 << 62))), Ok(1 << 62));
    }
}
