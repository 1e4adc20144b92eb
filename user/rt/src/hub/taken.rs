//! Regions that the peer has granted.
//!
//! Whatever it says, it can have granted a region that it still writes or can revoke at any time, or one that loses its memory
//! when somebody else needs it. What a payload is read from is therefore a snapshot that this process makes of it, and what
//! was granted is dropped at once.

use abi::limits::LEAF_SIZE;
use abi::{Error, Handle, Rights, SnapshotFlags, Token};

use crate::{Mapping, Region, accept};

/// A snapshot of this process alone, or what this process had no room for.
pub(super) type Taken = Result<Mapping, Error>;

/// Whose fault an error is: what there is no room for here is not the peer's.
pub(super) fn blame(error: Error) -> Error {
    match error {
        Error::NoMemory | Error::Quota | Error::Limit => error,
        _ => Error::PeerFault,
    }
}

/// Takes what the peer has granted.
///
/// # Errors
/// `PeerFault`: there is no such token; else what this process has no room for.
pub(super) fn take(token: Token, via: Handle) -> Result<Region, Error> {
    let handle = accept(token, via).map_err(blame)?;
    Ok(Region::from_handle(handle))
}

/// Takes `length` bytes of a region that the peer has granted, as they are now.
///
/// # Errors
/// As of [`take`]; `PeerFault` also if it has not so many bytes, can't be copied, or was taken back by now.
pub(super) fn take_region(token: Token, via: Handle, length: u64) -> Taken {
    let granted = take(token, via)?;
    let there = granted.info().map_err(blame)?.len;
    if length == 0 || length > there {
        return Err(Error::PeerFault);
    }
    // It pays for no more than it is told of.
    let leaves = length.next_multiple_of(LEAF_SIZE);
    let own = granted.snapshot_part(0, leaves, SnapshotFlags::empty());
    own.and_then(|own| own.map(Rights::READ)).map_err(blame)
}
