//! The one table of system calls, and what is generated from it here.

use core::fmt;

use crate::{Argument, Error, Outcome, Rights};

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
            /// Sets the base of the FS segment of the calling thread, by which compilers reach thread-local variables.
            7 ThreadTls thread_tls(base: u64) -> (), rights [], errors [Range];

            /// Starts a new process from an image, under a name of printable ASCII, with exactly the listed handles (in this order) and nothing else. All or nothing: when it fails, every handle is still the caller's. `Overlap`: one handle listed twice by Move. The process gets an account below the caller's, with the quota given; `Limit` is also more than 31 such accounts in a row.
            10 ProcessSpawn process_spawn(args: UserPtr<SpawnArgs>) -> Handle, rights [EXECUTE], errors [Fault, Invalid, BadHandle, WrongKind, Denied, InTransit, Shared, Pinned, Revoked, Overlap, Unsupported, TooLarge, Quota, NoMemory, Limit];
            /// Waits until a process has ended and tells how. Any number of waiters get the answer, each as often as it asks.
            11 ProcessWait process_wait(process: Handle, deadline: u64, status: UserPtr<ProcessStatus>) -> (), rights [WAIT], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Fault, WouldBlock, TimedOut, Cancelled, Interrupted];
            /// Ends a process as if it had called exit, wherever it is. Killing one that has ended is no error.
            12 ProcessKill process_kill(process: Handle) -> (), rights [DESTROY], errors [BadHandle, WrongKind, Denied, InTransit, Revoked];
            /// Tells facts about a process.
            13 ProcessInfo process_info(process: Handle, info: UserPtr<ProcessInfo>) -> (), rights [INSPECT], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Fault];
            /// Starts a thread that was stopped: by its fault, or because its process was spawned stopped. `thread` is its number, from the packet of the port that was told; 0 stands for the first that has stopped. It goes on at `instruction`, or where it stopped if that is 0. `NotFound`: no such thread has stopped.
            14 ProcessResume process_resume(process: Handle, thread: u64, instruction: u64) -> (), rights [MANAGE], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, NotFound, Range];
            /// Tells why a thread of a process has stopped; a `thread` of 0 stands for the first that has. `NotFound`: it has not.
            15 FaultInfo process_fault(process: Handle, thread: u64, info: UserPtr<FaultInfo>) -> (), rights [INSPECT], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, NotFound, Fault];
            /// Ends a process when its threads have entered the kernel so many times more, faults included; 0 takes that back.
            16 ProcessFuse process_fuse(process: Handle, entries: u64) -> (), rights [DESTROY], errors [BadHandle, WrongKind, Denied, InTransit, Revoked];
            /// Begins another thread of the calling process.
            17 ThreadSpawn thread_spawn(args: UserPtr<ThreadArgs>) -> Handle, rights [], errors [Fault, Invalid, Range, Denied, Interrupted, Quota, NoMemory, Limit];
            /// Ends the calling thread; with the last one the process exits with status 0.
            18 ThreadExit thread_exit() -> (), rights [], errors [];
            /// Tells facts about a thread.
            19 ThreadInfo thread_info(thread: Handle, info: UserPtr<ThreadInfo>) -> (), rights [INSPECT], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Fault];

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
            /// Keeps the frames of a region where they are, those of the part that the capability gives access to all present: it can't be moved, copied, decommitted or destroyed until every pin is taken back. Pins belong to the capability and go with it, or with its right to map. `Denied`: also of a capability for one use. `Unsupported`: an image, or a region that overcommits.
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
            /// Kills everything that was derived from a capability, at any depth and in every process: handles, tokens, mappings and waits, which end with `Revoked`; and the capability itself if asked to. No CPU can reach memory through them when it returns; returns how many capabilities died.
            42 CapRevoke cap_revoke(handle: Handle, flags: RevokeFlags) -> u64, rights [REVOKE], errors [BadHandle, Denied, InTransit, Revoked];
            /// Tells facts about a capability.
            43 CapInfo cap_info(handle: Handle, info: UserPtr<CapInfo>) -> (), rights [], errors [BadHandle, InTransit, Revoked, Fault];
            /// Tells whether two handles name one object.
            44 CapSame cap_same(a: Handle, b: Handle) -> bool, rights [], errors [BadHandle, InTransit, Revoked];
            /// Makes a capability below the given one with narrower authority: a part of a region, a budget of capabilities, a badge, one use, an end in time. What the parent is limited to, limits the child too; offsets that are passed with a capability of a part count from where the part begins. One for one use is gone with the first call that succeeds by it, if that is not about the capability itself (`cap_info`, `cap_same`, `cap_reduce`, a Move), and a call that is refused leaves it; nothing can be derived from it. `TimedOut`: the deadline has passed.
            45 CapDeriveWith cap_derive_with(handle: Handle, args: UserPtr<DeriveArgs>) -> Handle, rights [DUPLICATE], errors [BadHandle, Denied, InTransit, Revoked, Fault, Invalid, Range, Align, Exists, TimedOut, Unsupported, Quota, NoMemory, Limit];
            /// Takes rights away from a capability in place, and from everything below it; when it returns, mappings that allow more are gone, waits by them for what they don't allow any more have ended with `Denied`, and so have bindings of ports; timers and interrupts that set bits by them set none, and pins by what may map no more are taken back.
            46 CapReduce cap_reduce(handle: Handle, rights: Rights) -> (), rights [], errors [BadHandle, InTransit, Revoked];
            /// Tells what has gone through an object since it was made.
            47 ObjectInfo object_info(handle: Handle, info: UserPtr<ObjectInfo>) -> (), rights [INSPECT], errors [BadHandle, Denied, InTransit, Revoked, Fault];

            /// Offers an object to the process at the other end of `via` (a ring end, a channel end, a seat at a hub or the link to it, or a process that the caller holds), with at most the given rights. Needs GRANT, with Share also DUPLICATE, with Move also MOVE, with CopyOnWrite also READ and DUPLICATE: the receiver gets a snapshot, which it may also write. After Move the caller can't reach the object any more when this returns. After `deadline` the token is worth nothing, and what was moved comes back; `TimedOut`: it has passed. So it does when the channel end closes at which it could be accepted. `Invalid`: a channel end that is not younger than the channel it would go over, or a `via` that would be revoked with the others. When `via` ends at this very moment, the call fails and the capability is still this process's, but its mappings may be gone, and with REVOKE_OTHERS the others may be. `Shared`: another capability gives access to what is to be moved, or one derived from it has more rights than would be granted.
            50 Grant grant(handle: Handle, via: Handle, mode: Mode, rights: Rights, flags: GrantFlags, deadline: u64) -> Token, rights [GRANT], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Shared, Pinned, Busy, Invalid, PeerClosed, TimedOut, Unsupported, Quota, NoMemory, Limit];
            /// Takes what the process at the other end of `via` offered to this one. Works once. From then on this process pays for the capability, and with the first capability of a region or image for its memory; after `Quota` and `NoMemory` the token is still good. Any token that is not for this process, not from there, used up, expired, withdrawn or revoked is `NotFound`.
            51 Accept accept(token: Token, via: Handle) -> Handle, rights [], errors [BadHandle, WrongKind, InTransit, NotFound, Revoked, Quota, NoMemory, Limit];
            /// Withdraws a grant that was not accepted yet; what was moved comes back under its old handle.
            52 Cancel cancel(token: Token) -> (), rights [], errors [NotFound];

            /// Makes a ring and returns its two ends.
            60 RingCreate ring_create(geometry: UserPtr<RingGeometry>, ends: UserPtr<RingEnds>) -> (), rights [], errors [Fault, Invalid, TooLarge, Quota, NoMemory, Limit];
            /// Maps the view of one end: what this side owns is writable, the rest is not. Returns the address of its header page.
            61 RingMap ring_map(end: Handle) -> u64, rights [MAP], errors [BadHandle, WrongKind, Denied, InTransit, Exists, Revoked, Quota, NoMemory, Limit];
            /// Sleeps until the peer has moved its index past `seen`, has ended, or has called wake. The index is read again under the lock that a wake takes, so that none is lost; of an asymmetric ring, after every CPU that the peer runs on has made visible what it wrote. It may return early.
            62 RingWait ring_wait(end: Handle, seen: u32, deadline: u64) -> (), rights [WAIT], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Invalid, Busy, WouldBlock, TimedOut, Cancelled, Interrupted];
            /// Wakes the peer if it sleeps.
            63 RingWake ring_wake(end: Handle) -> (), rights [SIGNAL], errors [BadHandle, WrongKind, Denied, InTransit, Revoked];
            /// Tells facts about a ring: kind and size, the states of both ends, the epoch, and how far the ends say that they are.
            64 RingInfo ring_info(end: Handle, info: UserPtr<RingInfo>) -> (), rights [INSPECT], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Fault];
            /// Closes an end for good, in order or because the peer broke the protocol, and wakes whoever sleeps at either end. The handle and its view stay. An end that is closed stays as it is, but that a fault counts after an orderly close, too.
            65 RingClose ring_close(end: Handle, how: RingClose) -> (), rights [SIGNAL], errors [BadHandle, WrongKind, Denied, InTransit, Revoked];
            /// Wakes the peer of `end` as `ring_wake` does, and then sleeps at `waiting` as `ring_wait` does, which needs WAIT: what an answer and the wait for the next request are together. What fails after the wake leaves the peer woken.
            66 RingTurn ring_turn(end: Handle, waiting: Handle, seen: u32, deadline: u64) -> (), rights [SIGNAL], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Busy, WouldBlock, TimedOut, Cancelled, Interrupted];

            /// Makes a channel and returns its two ends. Each end queues at most `capacity` messages (1 to 64) for whoever receives there.
            70 ChannelCreate channel_create(capacity: u32, ends: UserPtr<ChannelEnds>) -> (), rights [], errors [Fault, Invalid, Quota, NoMemory, Limit];
            /// Sends a message of at most 256 bytes and 4 capabilities to the other end, waiting until the deadline for room. All or nothing: when it fails, every handle is still the caller's. `Overlap`: one handle listed twice by Move. `Invalid`: a channel end that is not younger than this channel, so that no channels keep each other alive. `message` 0 stands for an empty one. `Limit`: over the rate set for this end, or, whatever the deadline, more than it allows in a second.
            71 ChannelSend channel_send(end: Handle, message: UserPtr<Message>, deadline: u64) -> (), rights [SEND], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Fault, Invalid, TooLarge, Overlap, Shared, Pinned, Unsupported, PeerClosed, Full, Limit, TimedOut, Cancelled, Interrupted, Quota, NoMemory];
            /// Takes the next message that was sent to this end, waiting for it until the deadline. `TooLarge`: it does not fit what the caller offers; it stays, and the lengths that it needs are filled in. `PeerClosed` comes after the last message.
            72 ChannelReceive channel_receive(end: Handle, message: UserPtr<Message>, deadline: u64) -> (), rights [RECEIVE], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Fault, TooLarge, PeerClosed, WouldBlock, TimedOut, Cancelled, Interrupted, Quota, NoMemory, Limit];
            /// Sends a message and waits until whoever received it has replied. The receiver gets a capability by which it can reply once; when that is dropped unused, or its holder ends, the answer is `PeerClosed`. A message that nobody has received when this fails is taken back; an answer that this can't take goes back likewise. `request` 0 stands for an empty one; with `answer` 0 only an empty one is taken, and nothing is written. `WouldBlock`: the deadline is 0.
            73 ChannelCall channel_call(end: Handle, request: UserPtr<Message>, answer: UserPtr<Message>, deadline: u64) -> (), rights [SEND], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Fault, Invalid, TooLarge, Overlap, Shared, Pinned, Unsupported, PeerClosed, Limit, WouldBlock, TimedOut, Cancelled, Interrupted, Quota, NoMemory];
            /// Answers a call and uses the capability up. `message` 0 stands for an empty one. `Cancelled`: the caller does not wait any more. `TooLarge`: that is more than it takes, and it gets the same. After these two the capability is used up; when it fails otherwise, nothing was sent and it is still good.
            74 ChannelReply channel_reply(reply: Handle, message: UserPtr<Message>) -> (), rights [SEND], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Fault, Invalid, TooLarge, Overlap, Shared, Pinned, Unsupported, Cancelled, Quota, NoMemory, Limit];
            /// The call with a message of four words, which travel in registers, as does the answer. An answer that is no such message is `TooLarge`.
            75 ChannelCallWords channel_call_words(end: Handle, first: u64, second: u64, third: u64, fourth: u64, deadline: u64) -> Words, rights [SEND], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, TooLarge, PeerClosed, Limit, WouldBlock, TimedOut, Cancelled, Interrupted, Quota, NoMemory];
            /// Answers a call with four words, unless `reply` is 0, and takes the next message of four words that was sent to this end, waiting for it for ever: a time would need a seventh register. Who waits with a deadline calls `channel_serve` for this turn, to which four words are a message of 32 bytes, and goes on here after it. An answer that its caller does not wait for any more, or does not take, is lost. `TooLarge`: the next message is not of four words without capabilities; it stays.
            76 ChannelServeWords channel_serve_words(end: Handle, reply: Handle, first: u64, second: u64, third: u64, fourth: u64) -> Words, rights [RECEIVE], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, TooLarge, PeerClosed, Cancelled, Interrupted, Quota, NoMemory, Limit];
            /// Answers a call with four words and uses the capability up. `Cancelled`: the caller does not wait any more. `TooLarge`: it does not take so much, and gets the same.
            77 ChannelReplyWords channel_reply_words(reply: Handle, first: u64, second: u64, third: u64, fourth: u64) -> (), rights [SEND], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, TooLarge, Cancelled];
            /// Limits what can be sent from this end: so many messages and bytes a second, and one second's worth at once; 0 stands for no limit. It is one for the end: whoever sends from it, by whatever badge, sends out of the same. Answers are not limited: who calls has asked for them.
            78 ChannelLimit channel_limit(end: Handle, messages: u64, bytes: u64) -> (), rights [MANAGE], errors [BadHandle, WrongKind, Denied, InTransit, Revoked];
            /// Tells facts about a channel end.
            79 ChannelInfo channel_info(end: Handle, info: UserPtr<ChannelInfo>) -> (), rights [INSPECT], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Fault];

            /// Makes a notification: 63 bits that are signalled and waited for.
            80 NotifyCreate notify_create() -> Handle, rights [], errors [Quota, NoMemory, Limit];
            /// Sets bits of a notification, of which somebody who waits gets all that are set; never waits itself. A capability with a badge sets the bits of the badge, and `bits` has to be 0; without one it has to be a bit or more.
            81 Signal signal(notification: Handle, bits: u64) -> (), rights [SIGNAL], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Invalid];
            /// Waits until a bit of a notification is set, and takes all that are. A deadline of 0 polls.
            82 NotifyWait notify_wait(notification: Handle, deadline: u64) -> u64, rights [WAIT], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, WouldBlock, TimedOut, Cancelled, Interrupted];
            /// Waits until one of the events holds for an object, and returns those that do.
            83 ObjectWait object_wait(object: Handle, events: Events, deadline: u64) -> u64, rights [WAIT], errors [BadHandle, Denied, InTransit, Revoked, Invalid, Unsupported, WouldBlock, TimedOut, Cancelled, Interrupted];
            /// Ends the wait of a thread, which gets `Cancelled`. `Denied`: it is another process's; `NotFound`: it does not wait.
            84 WaitCancel wait_cancel(thread: Handle) -> (), rights [MANAGE], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, NotFound];
            /// Makes a port, at which a thread can wait for many objects at once.
            85 PortCreate port_create() -> Handle, rights [], errors [Quota, NoMemory, Limit];
            /// Has a port told of events of an object under a key; needs WAIT on the object, and for FAULTED MANAGE too, since a process that somebody is told of does not end by a fault. The packet is there from now on, so telling can't fail; what holds already is told at once. The binding ends with the port, and with the capability of the object that it was made by. The last quarter of the bindings that an object can have is for its first capability alone. `Denied`: also a capability of the object for one use. `Exists`: the key is taken. `Unsupported`: a port, an event that such an object does not have, or FAULTED with ONCE: whoever has a stopped thread go on has to be told still.
            86 PortBind port_bind(port: Handle, object: Handle, events: Events, flags: BindFlags, key: u64) -> (), rights [MANAGE], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Invalid, Exists, Unsupported, Quota, NoMemory, Limit];
            /// Takes a binding back, with its packet if that was not taken. `NotFound`: no such key.
            87 PortUnbind port_unbind(port: Handle, key: u64) -> (), rights [MANAGE], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, NotFound];
            /// Waits until a bound object has something to tell, and fills in up to `len` packets (at most 64); returns how many.
            88 PortWait port_wait(port: Handle, packets: UserPtr<PortPacket>, len: u64, deadline: u64) -> u64, rights [WAIT], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Invalid, Fault, WouldBlock, TimedOut, Cancelled, Interrupted];
            /// Answers a call as `channel_reply` does, unless `reply` is 0, and takes the next message that was sent to this end as `channel_receive` does. An answer without capabilities that its caller does not wait for any more, or does not take, is lost; whatever else keeps it from being given is told, and then nothing was received. The caller goes on at the latest when this waits. `answer` 0 stands for an empty one.
            89 ChannelServe channel_serve(end: Handle, reply: Handle, answer: UserPtr<Message>, request: UserPtr<Message>, deadline: u64) -> (), rights [RECEIVE], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Fault, Invalid, TooLarge, Overlap, Shared, Pinned, Unsupported, PeerClosed, WouldBlock, TimedOut, Cancelled, Interrupted, Quota, NoMemory, Limit];

            /// Tells which physical addresses a resource covers.
            90 ResourceInfo resource_info(resource: Handle, info: UserPtr<ResourceInfo>) -> (), rights [INSPECT], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Fault];
            /// Makes a resource of a part of another, in whole pages. It is an object of its own: revoking what is below its first capability ends what others have of it, revoking the other resource does not. `Range`: it is not all within the other.
            91 ResourcePart resource_part(resource: Handle, address: u64, len: u64) -> Handle, rights [MANAGE], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Invalid, Align, Range, Quota, NoMemory, Limit];
            /// Makes a region of physical addresses within a resource, in whole pages, which a device answers and not memory. It has all its pages at once, can be mapped, shared and moved like any region and be neither sealed nor copied; the kernel reads and writes none of it. `Range`: not within the resource, or more than this machine can address. `Overlap`: memory, or registers that the kernel drives itself. `Exists`: a live region has some of it under another policy.
            92 RegionDevice region_device(resource: Handle, address: u64, len: u64, policy: CachePolicy) -> Handle, rights [MANAGE], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Invalid, Align, Range, Overlap, Exists, TooLarge, Unsupported, Quota, NoMemory, Limit];
            /// Has bits of a notification set at every message-signalled interrupt that a device sends to the address and with the data filled in; needs SIGNAL on the notification, and lasts as long as this process has that capability of it. `Denied`: also by one for one use. `Limit`: this CPU has no line left.
            93 InterruptCreate interrupt_create(resource: Handle, notification: Handle, bits: u64, info: UserPtr<InterruptInfo>) -> Handle, rights [MANAGE], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Fault, Invalid, Quota, NoMemory, Limit];
            /// Makes a timer that sets bits of a notification, as long as this process has this capability of it. `Denied`: also by one for one use.
            94 TimerCreate timer_create(notification: Handle, bits: u64) -> Handle, rights [SIGNAL], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Invalid, Quota, NoMemory, Limit];
            /// Has a timer go off at a time, and then every `period` ns unless that is 0; u64::MAX stops it. A time in the past is now. `Range`: a period below 100 us.
            95 TimerSet timer_set(timer: Handle, deadline: u64, period: u64) -> (), rights [MANAGE], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Range];

            /// Has every CPU record what it does, in rings of `slots` events each (a power of two from 64 to 65,536), and returns the region with the rings, which can only be read. Needs the resource of all devices. `Exists`: a trace is being taken.
            96 TraceStart trace_start(resource: Handle, slots: u32) -> Handle, rights [MANAGE], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Invalid, Exists, Quota, NoMemory, Limit];
            /// Ends the trace; what was recorded can still be read.
            97 TraceStop trace_stop(resource: Handle) -> (), rights [MANAGE], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, NotFound];
            /// Sets how urgent a thread is, 1 to 31, at most what its process may have; 0 stands for the calling thread.
            98 ThreadPriority thread_priority(thread: Handle, priority: u32) -> (), rights [MANAGE], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Invalid];

            /// Makes a hub: up to 255 guests speak with one host, over two rings each. The caller is the host, pays for all rings and for the seats, and gets the hub and a region of one page that tells how each peer stands and can only be read. The hub ends, and every guest is told, when the host drops it or ends.
            100 HubCreate hub_create(geometry: UserPtr<HubGeometry>, handles: UserPtr<HubHandles>) -> (), rights [], errors [Fault, Invalid, Unsupported, TooLarge, Quota, NoMemory, Limit];
            /// Takes a seat that nobody has, whichever can be had, makes its rings, and returns the membership, to be claimed by whoever has it then. `Full`: every seat is taken, or not recovered yet. `Quota`: also of the host, which pays for the rings. `PeerClosed`: the host has said goodbye.
            101 HubReserve hub_reserve(hub: Handle, seat: UserPtr<HubSeat>) -> Handle, rights [SEND], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Fault, Full, PeerClosed, TooLarge, Quota, NoMemory, Limit];
            /// Begins to use a seat of this tenancy, and returns this side's ends of its rings and the table; the host is told. An end that was revoked at this moment is 0. `NotFound`: the seat is not reserved in this tenancy; `Exists`: it was claimed. After `Fault` the seat is left.
            102 HubClaim hub_claim(member: Handle, epoch: u32, ends: UserPtr<HubGuestEnds>) -> (), rights [MANAGE], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Fault, NotFound, Exists, PeerClosed, Quota, NoMemory, Limit];
            /// Leaves a seat: the ends of this side are revoked, and the host, which still receives what was sent, is told. `NotFound`: it was left, or the guest was dismissed.
            103 HubLeave hub_leave(member: Handle) -> (), rights [MANAGE], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, NotFound];
            /// Tells facts about a hub.
            104 HubInfo hub_info(hub: Handle, info: UserPtr<HubInfo>) -> (), rights [INSPECT], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Fault];
            /// Waits until a guest has something for the host to look at: it claimed its seat, sent something while the host slept, made room that the host waited for, left or died. Fills in which, a bit each, and returns how many. What a ring holds is looked at before it sleeps, so no guest has to enter the kernel while the host is awake. After `WouldBlock` guests signal until the next has.
            105 HubWait hub_wait(hub: Handle, peers: UserPtr<HubPeers>, deadline: u64) -> u64, rights [WAIT], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Fault, PeerClosed, WouldBlock, TimedOut, Cancelled, Interrupted];
            /// Gives the host its ends of the rings of a guest, and a link, which leads to the guest. `NotFound`: no such guest in this tenancy; `Exists`: it was connected; `Denied`: also anybody but the host.
            106 HubConnect hub_connect(hub: Handle, peer: u32, epoch: u32, ends: UserPtr<RingEnds>) -> Handle, rights [MANAGE], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Fault, NotFound, Exists, Quota, NoMemory, Limit];
            /// Ends a guest, whether it works or hangs or sends nonsense: its membership, its ends of the rings and its capability of the table are revoked, and what it sent can still be received. Peer 0 is the host itself, whose goodbye this is: every guest is told, those that sleep too, and nobody joins any more. `NotFound`: no such guest in this tenancy.
            107 HubDismiss hub_dismiss(hub: Handle, peer: u32, epoch: u32) -> (), rights [MANAGE], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, NotFound];
            /// Makes the seat of a guest that is gone empty again: both its rings are gone, on every CPU, and then somebody else can have it, in the next tenancy. To be called when everything was received. `Busy`: the guest is there.
            108 HubRecover hub_recover(hub: Handle, peer: u32, epoch: u32) -> (), rights [MANAGE], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, NotFound, Busy];
            /// Tells the host that there is something to look at, or only that this guest lives. `PeerClosed`: the seat is not this one's any more, or the host is gone.
            109 HubSignal hub_signal(member: Handle, signal: HubSignal) -> (), rights [SIGNAL], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, PeerClosed];
            /// Makes a submission ring, by which this process asks for many calls at once; see `SubmissionArgs`. It stays with this process. `Limit`: also more than 64 of them.
            110 SubCreate sub_create(args: UserPtr<SubmissionArgs>) -> Handle, rights [], errors [Fault, Invalid, TooLarge, Interrupted, Quota, NoMemory, Limit];
            /// Has up to `submit` entries of a ring served and waits until at least `wait_for` completions are there to be taken, or until the deadline. Returns how many entries were taken: fewer when there are no more, or when no completion could be kept for another. What goes wrong with an entry is told by its completion. `Busy`: another thread is at the entries of this ring; `PeerFault`: the indices that the program wrote can't be. When entries were taken, the call tells how many even if the wait failed; those that a revoke or reduce of the ring's capability finds being taken are at most 64 and the rest of a chain that began among them. Of a ring with a thread it wakes that, and takes none itself. A program enters such a ring, with nothing to submit, when the notes in the header of its submissions say RESTING; it looks for that, behind a full fence, after it has stored the tail of the submissions, and, while entries are left in the ring, after it has stored the head of the completions.
            111 SubEnter sub_enter(submission: Handle, submit: u32, wait_for: u32, deadline: u64) -> u64, rights [SEND], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Invalid, Busy, PeerFault, WouldBlock, TimedOut, Cancelled, Interrupted];
            /// Registers a handle with all submission rings of this process, those to come included, and returns its number: every ring knows it or none. It takes the slot given, or with u64::MAX any that is not reserved. It is let go when the capability ends. `Range`: no such slot; `Exists`: it is taken; `Limit`: no slot is left; `Denied`: a capability for one use, as a right to reply is.
            112 SubRegister sub_register(handle: Handle, slot: u64) -> u64, rights [], errors [BadHandle, Denied, InTransit, Revoked, Range, Exists, Quota, NoMemory, Limit];
            /// Lets a registered handle go, under the number that it was registered by, and waits until the deadline for operations that use it; `Busy`: there are some and the deadline is 0, or another thread is at it. When it fails, it is registered as before. `NotFound`: no such number, or not any more.
            113 SubUnregister sub_unregister(registered: u64, deadline: u64) -> (), rights [], errors [NotFound, Busy, TimedOut, Revoked, Cancelled, Interrupted];
            /// Maps both rings of a submission ring and fills in where. `Exists`: they are mapped.
            114 SubMap sub_map(submission: Handle, views: UserPtr<SubmissionViews>) -> (), rights [MAP], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Exists, Fault, Quota, NoMemory, Limit];
            /// Tells facts about a submission ring.
            115 SubInfo sub_info(submission: Handle, info: UserPtr<SubmissionInfo>) -> (), rights [INSPECT], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Fault];
            /// Copies bytes from a region to another, of which this process needs to map neither; needs also READ on the source. Copies at most 256 KiB and returns how many bytes: the rest is for further calls. Bytes before the place that it fails at may have been copied. `Unsupported`: device memory, or a region that can be executed.
            116 RegionCopy region_copy(region: Handle, offset: u64, source: Handle, source_offset: u64, len: u64) -> u64, rights [WRITE], errors [BadHandle, WrongKind, Denied, InTransit, Revoked, Sealed, Range, Unsupported, NoMemory];
            /// Sets for this process how many slots there are for registered handles, up to 65,536, and how many of them from 0 on are reserved: those are taken only by who asks for one by number. `Exists`: handles have been registered; `Invalid`: no slot, or more reserved ones than there are.
            117 SubSlots sub_slots(count: u64, reserved: u64) -> (), rights [], errors [Invalid, Exists, Quota, NoMemory];
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
    /// Writes it for people.
    pub show: fn(u64, &mut fmt::Formatter<'_>) -> fmt::Result,
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
    /// Writes that for people, from `rax`.
    pub show_result: fn(u64, &mut fmt::Formatter<'_>) -> fmt::Result,
    /// The rights that the capability in its first argument must have.
    pub rights: &'static [Rights],
    /// The errors of its own; any call can also be `Invalid` for an argument that can't be decoded, and one
    /// that uses a capability for one use `Busy` or `NoMemory` for it.
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
            #[inline(always)]
            pub const fn from_number(number: u64) -> Option<Syscall> {
                match number { $($number => Some(Syscall::$variant),)* _ => None }
            }

            /// The rights that the capability in its first argument must have.
            pub const fn rights(self) -> Rights {
                match self { $(Syscall::$variant => Rights::empty()$(.union(Rights::$right))*,)* }
            }

            /// The errors of its own.
            pub const fn errors(self) -> &'static [Error] {
                match self { $(Syscall::$variant => &[$(Error::$error),*],)* }
            }

            /// Whether it looks up a capability to use it, which may be for one use.
            pub const fn looks_up(self) -> bool {
                let takes_handle = match self {
                    $(Syscall::$variant => false $(|| <$ty as Argument>::IS_HANDLE)*,)*
                };
                match self {
                    // These are about capabilities and not about what they stand for.
                    Syscall::CapDerive | Syscall::CapDrop => false,
                    // In what its argument leads to.
                    Syscall::ProcessSpawn => true,
                    _ => takes_handle,
                }
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
                show: <$ty as Argument>::show,
            }),*],
            result: <$ret as Outcome>::NAME,
            show_result: <$ret as Outcome>::show,
            rights: &[$(Rights::$right),*],
            errors: &[$(Error::$error),*],
            doc: concat!($($doc),*),
        },)*];
    };
}

use crate::types::CapInfo;
use crate::{
    BindFlags, CachePolicy, ChannelEnds, ChannelInfo, DeriveArgs, Events, FaultInfo, GrantFlags,
    Handle, HubGeometry, HubGuestEnds, HubHandles, HubInfo, HubPeers, HubSeat, HubSignal,
    InterruptInfo, MapFlags, Message, Mode, ObjectInfo, PortPacket, ProcessInfo, ProcessStatus,
    RegionFlags, RegionInfo, ResourceInfo, RevokeFlags, RingClose, RingEnds, RingGeometry,
    RingInfo, SnapshotFlags, SpawnArgs, SubmissionArgs, SubmissionInfo, SubmissionViews,
    SystemInfo, ThreadArgs, ThreadInfo, Token, UserPtr, Words,
};

for_each_syscall!(describe);

impl Syscall {
    /// Whether it may answer with an error when every argument could be decoded: with one that it lists, or one
    /// that any call may answer with which uses a capability for one use.
    pub fn may_answer(self, error: Error) -> bool {
        let of_one_shot = self.looks_up() && matches!(error, Error::Busy | Error::NoMemory);
        of_one_shot || self.errors().contains(&error)
    }
}

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
