//! Structures of the contract, copied from and to the memory of a program, with no lock held: each copy may
//! fault, and what a fault leads to takes locks of any rank.

#![allow(unsafe_code)] // Structures are seen as bytes.

use core::mem::MaybeUninit;
use core::{ptr, slice};

use abi::{
    CapInfo, ChannelEnds, ChannelInfo, DeriveArgs, Error, FaultInfo, Handle, HandleTransfer,
    HubGeometry, HubGuestEnds, HubHandles, HubInfo, HubPeers, HubSeat, InterruptInfo, Message,
    ObjectInfo, PortPacket, ProcessInfo, ProcessStatus, RegionInfo, ResourceInfo, RingEnds,
    RingGeometry, RingInfo, SpawnArgs, SubmissionArgs, SubmissionInfo, SubmissionViews, SystemInfo,
    ThreadArgs, ThreadInfo, UserPtr,
};
use alloc::vec::Vec;
use arch::user;

use crate::ranks;

/// A structure that is the same as its bytes.
///
/// # Safety
/// `repr(C)`, without padding, and any bytes are a value of it.
pub unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($ty:ty),*) => {$(
        // SAFETY: an integer, or `repr(C)` over integers and transparent wrappers of integers, whose
        // asserted size is the sum of theirs.
        unsafe impl Plain for $ty {}
    )*};
}

plain!(
    CapInfo,
    ChannelEnds,
    ChannelInfo,
    DeriveArgs,
    FaultInfo,
    Handle,
    HandleTransfer,
    HubGeometry,
    HubGuestEnds,
    HubHandles,
    HubInfo,
    HubPeers,
    HubSeat,
    InterruptInfo,
    Message,
    ObjectInfo,
    PortPacket,
    ProcessInfo,
    ProcessStatus,
    RegionInfo,
    ResourceInfo,
    RingEnds,
    RingGeometry,
    RingInfo,
    SpawnArgs,
    SubmissionArgs,
    SubmissionInfo,
    SubmissionViews,
    SystemInfo,
    ThreadArgs,
    ThreadInfo,
    u8
);

/// Copies a structure in.
#[inline]
pub fn read<T: Plain>(from: UserPtr<T>) -> Result<T, Error> {
    let mut value = MaybeUninit::uninit();
    read_slice(from.address(), slice::from_mut(&mut value))?;
    // SAFETY: all its bytes were written, and any bytes are a value.
    Ok(unsafe { value.assume_init() })
}

/// The same to where it is to be, so that it is not moved.
#[inline(always)]
pub fn read_to<T: Plain>(room: &mut MaybeUninit<T>, from: UserPtr<T>) -> Result<&T, Error> {
    Ok(&read_slice(from.address(), slice::from_mut(room))?[0])
}

/// Copies as many values in as there is room for.
#[inline]
pub fn read_slice<T: Plain>(from: u64, room: &mut [MaybeUninit<T>]) -> Result<&mut [T], Error> {
    ranks::assert_none_held();
    // SAFETY: the bytes of `room`, which need not hold anything.
    let bytes = unsafe {
        slice::from_raw_parts_mut(
            room.as_mut_ptr().cast::<MaybeUninit<u8>>(),
            size_of_val(room),
        )
    };
    user::copy_from_user_to_room(bytes, from).map_err(|_| Error::Fault)?;
    // SAFETY: all bytes were written, and any bytes are values.
    Ok(unsafe { room.assume_init_mut() })
}

/// Copies a structure out.
#[inline(always)]
pub fn write<T: Plain>(to: UserPtr<T>, value: &T) -> Result<(), Error> {
    if const { size_of::<T>() != 8 } {
        return write_slice(to.address(), slice::from_ref(value));
    }
    ranks::assert_none_held();
    // SAFETY: eight bytes, all of which are initialised since there is no padding.
    let word = unsafe { ptr::from_ref(value).cast::<u64>().read_unaligned() };
    told(user::put_u64(to.address(), word))
}

/// Copies values out.
#[inline]
pub fn write_slice<T: Plain>(to: u64, values: &[T]) -> Result<(), Error> {
    ranks::assert_none_held();
    // SAFETY: the bytes of `values`, all of which are initialised since there is no padding.
    let bytes = unsafe { slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) };
    told(user::copy_to_user(to, bytes))
}

/// Writes four words of a structure, each at its offset.
#[inline(always)]
pub fn write_fields<
    T: Plain,
    const FIRST: usize,
    const SECOND: usize,
    const THIRD: usize,
    const FOURTH: usize,
>(
    to: UserPtr<T>,
    words: [u64; 4],
) -> Result<(), Error> {
    const {
        let last = size_of::<T>() - 8;
        assert!(FIRST <= last && SECOND <= last && THIRD <= last && FOURTH <= last);
    }
    ranks::assert_none_held();
    let (address, len) = (to.address(), size_of::<T>() as u64);
    told(user::put_words::<FIRST, SECOND, THIRD, FOURTH>(
        address, len, words,
    ))
}

/// What a program is told of a copy.
#[inline(always)]
fn told(copied: Result<(), user::Fault>) -> Result<(), Error> {
    match copied {
        Err(_) if !mm::sabotaged!("user_copy_failure_ignored") => Err(Error::Fault),
        _ => Ok(()),
    }
}

/// Copies an array in. The caller has bounded `len`.
pub fn read_array<T: Plain>(from: u64, len: usize) -> Result<Vec<T>, Error> {
    let mut values = Vec::new();
    values.try_reserve_exact(len).map_err(|_| Error::NoMemory)?;
    read_slice(from, &mut values.spare_capacity_mut()[..len])?;
    // SAFETY: there is room for so many, and they were written.
    unsafe { values.set_len(len) };
    Ok(values)
}
