//! What a program for Handover links: start-up, system calls, a heap, regions, rings, channels, ports,
//! notifications, timers, threads, processes.
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//!
//! rt::entry!(main);
//!
//! fn main(env: &rt::Env) -> u8 {
//!     rt::println!("hello, {}", env.args().nth(1).unwrap_or("world"));
//!     0
//! }
//! ```
//!
//! A program may be linked at a fixed address or be position-independent; either way it is static.
//! It begins with the handles that its parent passed ([`Env::handle`]) and no others. `docs/programs.md`
//! shows one from `cargo new` to running.

#![no_std]

extern crate alloc;

mod capability;
mod channel;
mod device;
mod duplex;
mod env;
mod executor;
mod gather;
#[cfg(all(feature = "heap", target_os = "none"))]
mod heap;
pub mod hub;
mod interrupt;
mod message;
mod mutex;
pub mod names;
mod notification;
mod owned;
mod port;
mod print;
mod process;
mod region;
mod ring_end;
#[cfg(target_os = "none")]
mod start;
mod statistics;
pub mod submission;
pub mod sys;
mod thread;
mod timer;
mod trace;

pub use abi::{
    BindFlags, CachePolicy, CapInfo, ChannelInfo, DeriveFlags, Error, Events, FOREVER, FaultInfo,
    GrantFlags, Handle, InterruptInfo, MapFlags, Mode, NodeFrames, ObjectInfo, ObjectKind,
    PortPacket, ProcessInfo, ProcessState, ProcessStatus, RegionFlags, RegionInfo, ResourceInfo,
    Resources, RevokeFlags, Rights, RingClose, RingGeometry, RingInfo, SnapshotFlags, SpawnFlags,
    SystemInfo, ThreadInfo, Token, UserPtr, Words,
};
pub use capability::{
    Derive, cap_info, derive, object_info, object_wait, reduce, revoke, revoke_all, same_object,
};
pub use channel::{ChannelEnd, ReceivedWords, channel};
pub use device::{Registers, Word, resource_info, resource_part};
pub use duplex::{Duplex, DuplexEnds, duplex, open_duplex};
pub use env::Env;
pub use executor::{Executor, Task, TaskWait};
pub use gather::{Gather, Gathered};
pub use interrupt::Interrupt;
pub use message::{Message, Received, Reply};
pub use mutex::{Mutex, MutexGuard};
pub use notification::Notification;
pub use owned::Owned;
pub use port::{Packets, Port, events_of};
pub use print::write as print_fmt;
pub use process::{Process, Spawn, image_from};
pub use region::{Mapping, Region};
pub use ring_end::{
    AtEnd, ByteReceiver, ByteSender, PacketReceiver, PacketSender, Receiver, RingEnd, RingWait,
    Sender, close_ring, open_byte_receiver, open_byte_sender, open_packet_receiver,
    open_packet_sender, open_receiver, open_sender, ring, ring_info, ring_of, to_abi,
};
pub use statistics::Statistics;
pub use submission::Submissions;
pub use thread::{Thread, ThreadSpawn, set_priority, set_tls_base, sleep_until, yield_now};
pub use timer::Timer;
pub use trace::{Trace, TraceEvents, Traced, trace_start, trace_stop};

/// Nanoseconds of the monotonic clock.
pub fn now_ns() -> u64 {
    // SAFETY: the call touches no memory.
    unsafe { sys::clock_now() }.unwrap_or(0)
}

/// The deadline so many milliseconds from now; what can't be said in nanoseconds is never.
pub fn in_ms(ms: u64) -> u64 {
    now_ns().saturating_add(ms.saturating_mul(1_000_000))
}

/// What the system holds and has done.
pub fn system_info() -> Result<SystemInfo, Error> {
    let mut info = SystemInfo::default();
    // SAFETY: the pointer leads to `info`, which the kernel fills in during the call.
    unsafe { sys::system_info(UserPtr::new((&raw mut info) as u64)) }?;
    Ok(info)
}

/// Ends this process.
pub fn exit(status: u8) -> ! {
    // SAFETY: the call does not come back.
    let _ = unsafe { sys::exit(status) };
    loop {
        core::hint::spin_loop();
    }
}

/// Offers what a handle stands for to the process at the other end of `via`.
pub fn grant(handle: Handle, via: Handle, mode: Mode, rights: Rights) -> Result<Token, Error> {
    // SAFETY: after Move, mappings of the region are gone. Whoever has slices of one has promised that
    // nobody takes it away; `Region::give` takes care of that.
    unsafe { sys::grant(handle, via, mode, rights, GrantFlags::empty(), FOREVER) }
}

/// Takes what the process at the other end of `via` offered.
pub fn accept(token: Token, via: Handle) -> Result<Handle, Error> {
    // SAFETY: the call touches no memory.
    unsafe { sys::accept(token, via) }
}

/// Gives a handle back.
pub fn drop_handle(handle: Handle) -> Result<(), Error> {
    // SAFETY: mappings outlive their handle; the view of a ring end does not, and `ring_end` drops
    // its handle last.
    unsafe { sys::cap_drop(handle) }
}

/// Says where a program begins: a function `fn(&rt::Env) -> u8` whose result is the exit status.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[cfg(target_os = "none")]
        #[unsafe(no_mangle)]
        extern "Rust" fn handover_main(env: &$crate::Env) -> u8 {
            let main: fn(&$crate::Env) -> u8 = $main;
            main(env)
        }

        /// The program is built for its own target; on the host there is nothing to run.
        #[cfg(not(target_os = "none"))]
        fn main() {
            let _: fn(&$crate::Env) -> u8 = $main;
        }
    };
}
