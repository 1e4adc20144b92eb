//! System calls without their dangers.
//!
//! The cases keep no reference to anything that they map: they look at it by [`peek`] and change
//! it by [`poke`] alone. Where an access is not allowed, the process ends, and that is the test.

use core::ptr::NonNull;

use abi::ring::Geometry;
use abi::{
    CapInfo, HubGeometry, HubGuestEnds, HubHandles, HubSignal, RegionInfo, RingEnds, RingGeometry,
    UserPtr,
};
use ring::memory::{ConsumerMemory, ProducerMemory};
use rt::{
    CachePolicy, Error, FOREVER, GrantFlags, Handle, MapFlags, Mode, RegionFlags, RevokeFlags,
    Rights, SnapshotFlags, Token, sys,
};

/// Reads a word.
pub fn peek(address: u64) -> u64 {
    // SAFETY: a plain word, and no reference to memory that cases map exists.
    unsafe { (address as *const u64).read_volatile() }
}

/// Writes a word.
pub fn poke(address: u64, value: u64) {
    // SAFETY: no reference to memory that cases map exists.
    unsafe { (address as *mut u64).write_volatile(value) }
}

/// Writes half a word.
pub fn poke_u32(address: u64, value: u32) {
    // SAFETY: no reference to memory that cases map exists.
    unsafe { (address as *mut u32).write_volatile(value) }
}

/// Reads half a word.
pub fn peek_u32(address: u64) -> u32 {
    // SAFETY: as above.
    unsafe { (address as *const u32).read_volatile() }
}

/// A number for a call and six arguments, as they are. The arguments name no memory that Rust
/// knows of. Any call may be among them, also one that answers in the registers of its arguments.
pub fn raw(number: u64, arguments: [u64; 6]) -> Result<u64, Error> {
    // SAFETY: the caller's arguments lead to nothing that Rust knows of.
    let (result, _) = unsafe { sys::raw_in_registers(number, arguments) };
    abi::decode(result)
}

macro_rules! wrap {
    ($($name:ident($($arg:ident: $ty:ty),*) -> $ret:ty;)*) => {$(
        /// The call of this name.
        pub fn $name($($arg: $ty),*) -> Result<$ret, Error> {
            // SAFETY: it changes only memory that the cases see through `peek` and `poke`.
            unsafe { sys::$name($($arg),*) }
        }
    )*};
}

wrap! {
    map(region: Handle, hint: u64, offset: u64, len: u64, rights: Rights, flags: MapFlags) -> u64;
    unmap(address: u64) -> ();
    protect(address: u64, rights: Rights) -> ();
    region_seal(region: Handle) -> ();
    region_destroy(region: Handle) -> ();
    region_commit(region: Handle, offset: u64, len: u64) -> ();
    region_decommit(region: Handle, offset: u64, len: u64) -> ();
    region_snapshot(region: Handle, offset: u64, len: u64, flags: SnapshotFlags) -> Handle;
    region_pin(region: Handle) -> ();
    region_unpin(region: Handle) -> ();
    resource_part(resource: Handle, address: u64, len: u64) -> Handle;
    region_device(resource: Handle, address: u64, len: u64, policy: CachePolicy) -> Handle;
    image_create(region: Handle, offset: u64, len: u64) -> Handle;
    cap_derive(handle: Handle, rights: Rights) -> Handle;
    cap_drop(handle: Handle) -> ();
    cap_same(a: Handle, b: Handle) -> bool;
    cancel(token: Token) -> ();
    ring_map(end: Handle) -> u64;
    ring_wait(end: Handle, seen: u32, deadline: u64) -> ();
    ring_wake(end: Handle) -> ();
    process_kill(process: Handle) -> ();
}

/// Offers an object for as long as anybody takes it.
pub fn grant(
    handle: Handle,
    via: Handle,
    mode: Mode,
    rights: Rights,
    flags: GrantFlags,
) -> Result<Token, Error> {
    // SAFETY: it changes only memory that the cases see through `peek` and `poke`.
    unsafe { sys::grant(handle, via, mode, rights, flags, FOREVER) }
}

/// Kills all that is below a capability.
pub fn cap_revoke(handle: Handle) -> Result<u64, Error> {
    // SAFETY: it changes only memory that the cases see through `peek` and `poke`.
    unsafe { sys::cap_revoke(handle, RevokeFlags::empty()) }
}

/// A region of memory.
pub fn region_create(len: u64, flags: RegionFlags, node: u64) -> Result<Handle, Error> {
    // SAFETY: the call touches no memory.
    unsafe { sys::region_create(len, flags, CachePolicy::WriteBack, node) }
}

/// A region of `len` bytes.
pub fn region(len: u64) -> Handle {
    done!(
        region_create(len, RegionFlags::empty(), u64::MAX),
        "a region of {len} bytes"
    )
}

/// Maps all of a region anywhere.
pub fn map_all(region: Handle, rights: Rights) -> u64 {
    done!(
        map(region, 0, 0, 0, rights, MapFlags::empty()),
        "mapping a region"
    )
}

/// What programs mostly want.
pub const READ_WRITE: Rights = Rights::READ.union(Rights::WRITE);

/// Lets others run.
pub fn yield_now() {
    // SAFETY: it touches no memory.
    let _ = unsafe { sys::thread_yield() };
}

/// Facts about a capability.
pub fn cap_info(handle: Handle) -> Result<CapInfo, Error> {
    let mut info = CapInfo::default();
    // SAFETY: the pointer leads to `info`.
    unsafe { sys::cap_info(handle, UserPtr::new((&raw mut info) as u64)) }?;
    Ok(info)
}

/// Facts about a region.
pub fn region_info(handle: Handle) -> Result<RegionInfo, Error> {
    let mut info = RegionInfo::default();
    // SAFETY: the pointer leads to `info`.
    unsafe { sys::region_info(handle, UserPtr::new((&raw mut info) as u64)) }?;
    Ok(info)
}

/// A ring of any geometry, good or bad.
pub fn ring_create(geometry: &RingGeometry) -> Result<RingEnds, Error> {
    let mut ends = RingEnds {
        producer: Handle::NONE,
        consumer: Handle::NONE,
    };
    // SAFETY: the pointers lead to `geometry` and `ends`.
    unsafe {
        sys::ring_create(
            UserPtr::new((&raw const *geometry) as u64),
            UserPtr::new((&raw mut ends) as u64),
        )
    }?;
    Ok(ends)
}

/// The producer's part of a ring of the kernel's, by the address of its view. A new one takes the place of the last.
pub fn producer_memory(view: u64, geometry: Geometry) -> Result<ProducerMemory, ring::Error> {
    let base = NonNull::new(view as *mut u8).ok_or(ring::Error::Invalid)?;
    // SAFETY: the kernel mapped a view of this shape there, and what is gone from there faults. What cases write
    // besides, they write by `poke` while no end is at work.
    unsafe { ProducerMemory::from_raw(base, geometry) }
}

/// The same of the consumer's.
pub fn consumer_memory(view: u64, geometry: Geometry) -> Result<ConsumerMemory, ring::Error> {
    let base = NonNull::new(view as *mut u8).ok_or(ring::Error::Invalid)?;
    // SAFETY: as above.
    unsafe { ConsumerMemory::from_raw(base, geometry) }
}

/// A hub of any geometry, good or bad.
pub fn hub_create(geometry: &HubGeometry) -> Result<HubHandles, Error> {
    let mut handles = HubHandles::default();
    // SAFETY: the pointers lead to `geometry` and `handles`.
    unsafe {
        sys::hub_create(
            UserPtr::new((&raw const *geometry) as u64),
            UserPtr::new((&raw mut handles) as u64),
        )
    }?;
    Ok(handles)
}

/// The ends of a guest, without anything around them.
pub fn hub_claim(member: Handle, epoch: u32) -> Result<HubGuestEnds, Error> {
    let mut ends = HubGuestEnds::default();
    // SAFETY: the pointer leads to `ends`.
    unsafe { sys::hub_claim(member, epoch, UserPtr::new((&raw mut ends) as u64)) }?;
    Ok(ends)
}

/// Tells the host that there is something to look at.
pub fn hub_signal(member: Handle) -> Result<(), Error> {
    // SAFETY: the call touches no memory.
    unsafe { sys::hub_signal(member, HubSignal::Work) }
}

/// A ring of 16 slots of 64 bytes: producer, consumer.
pub fn small_ring() -> (Handle, Handle) {
    done!(rt::ring(64, 16), "a ring")
}
