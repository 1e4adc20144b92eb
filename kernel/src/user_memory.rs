//! Structures of the contract, copied from and to the memory of a program.

#![allow(unsafe_code)] // Structures are seen as bytes.

use core::mem::MaybeUninit;

use abi::{
    CapInfo, ChannelEnds, ChannelInfo, DeriveArgs, Error, FaultInfo, Handle, HandleTransfer,
    InterruptInfo, Message, ObjectInfo, PortPacket, ProcessInfo, ProcessStatus, RegionInfo,
    ResourceInfo, RingEnds, RingGeometry, SpawnArgs, SystemInfo, ThreadArgs, ThreadInfo, UserPtr,
};
use alloc::vec;
use alloc::vec::Vec;
use arch::user;

/// A structure that is the same as its bytes.
///
/// # Safety
/// `repr(C)`, without padding, and any bytes are a value of it.
pub unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($ty:ty),*) => {$(
        // SAFETY: `repr(C)` over integers and transparent wrappers of integers; its asserted size
        // is the sum of theirs.
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
    SpawnArgs,
    SystemInfo,
    ThreadArgs,
    ThreadInfo
);

/// Copies a structure in.
pub fn read<T: Plain>(from: UserPtr<T>) -> Result<T, Error> {
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: the bytes of `value`, which are initialised.
    let bytes =
        unsafe { core::slice::from_raw_parts_mut(value.as_mut_ptr().cast::<u8>(), size_of::<T>()) };
    user::copy_from_user(bytes, from.address()).map_err(|_| Error::Fault)?;
    // SAFETY: any bytes are a value.
    Ok(unsafe { value.assume_init() })
}

/// Copies a structure out.
pub fn write<T: Plain>(to: UserPtr<T>, value: &T) -> Result<(), Error> {
    // SAFETY: the bytes of `value`, all of which are initialised since there is no padding.
    let bytes =
        unsafe { core::slice::from_raw_parts((&raw const *value).cast::<u8>(), size_of::<T>()) };
    match user::copy_to_user(to.address(), bytes) {
        Err(_) if !mm::sabotaged!("user_copy_failure_ignored") => Err(Error::Fault),
        _ => Ok(()),
    }
}

/// Copies an array in. The caller has bounded `len`.
pub fn read_array<T: Plain>(from: u64, len: usize) -> Result<Vec<T>, Error> {
    let mut values = Vec::new();
    values.try_reserve_exact(len).map_err(|_| Error::NoMemory)?;
    for index in 0..len {
        let at = (index * size_of::<T>()) as u64;
        let at = from.checked_add(at).ok_or(Error::Fault)?;
        values.push(read(UserPtr::new(at))?);
    }
    Ok(values)
}

/// Copies bytes in. The caller has bounded `len`.
pub fn read_bytes(from: u64, len: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; len as usize];
    user::copy_from_user(&mut bytes, from).map_err(|_| Error::Fault)?;
    Ok(bytes)
}

/// Copies bytes in, as many as there is room for.
pub fn read_into(from: u64, bytes: &mut [u8]) -> Result<(), Error> {
    user::copy_from_user(bytes, from).map_err(|_| Error::Fault)
}

/// Copies bytes out.
pub fn write_bytes(to: u64, bytes: &[u8]) -> Result<(), Error> {
    user::copy_to_user(to, bytes).map_err(|_| Error::Fault)
}
