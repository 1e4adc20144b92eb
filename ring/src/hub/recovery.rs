//! The order in which a host recovers the seat of a guest that is gone, however it does each step.
//!
//! What the guest has sent is received first, since its messages refer to slots that are its until then; its slots and
//! leases go when nothing refers to them any more; and nobody can have the seat before all of that is done.

use crate::payload::Traffic;

/// What a host has of one guest, and how it gives it up.
pub trait Remains {
    /// Why a step can fail.
    type Error;

    /// Refuses if the guest can still send something.
    ///
    /// # Errors
    /// Nothing was done then.
    fn check_gone(&self) -> Result<(), Self::Error>;

    /// Receives what is left in the ring, and gives back what its messages refer to.
    fn drain(&mut self) -> Drained;

    /// Gives up both rings, in which nothing is left.
    fn reset_rings(&mut self);

    /// Gives back the slots that the guest had for itself, and returns how many.
    fn reclaim_slots(&mut self) -> u32;

    /// Drops what the guest had leased, and returns how many leases there were.
    fn drop_leases(&mut self) -> u64;

    /// What has passed in all.
    fn traffic(&self) -> Traffic;

    /// Has the seat be empty, in the next tenancy.
    ///
    /// # Errors
    /// The seat stays as it is.
    fn vacate(&mut self) -> Result<(), Self::Error>;
}

/// What was left in the ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Messages that were received.
    pub messages: u32,
    /// One could not be taken, and those behind it are lost.
    pub fault: bool,
}

/// What a recovery has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// In the ring to the host.
    pub drained: Drained,
    /// Slots that the guest had and had sent nobody.
    pub slots: u32,
    /// Leases of regions that it had not given back.
    pub leases: u64,
    /// What has passed in its tenancy beside the ring, as the host has counted it.
    pub traffic: Traffic,
}

/// Recovers a seat: step by step, in this order.
///
/// # Errors
/// That the guest is there, or that the seat could not be made empty.
pub fn recover<R: Remains>(mut remains: R) -> Result<Recovered, R::Error> {
    remains.check_gone()?;
    let mut recovered = Recovered::default();
    if crate::sabotaged!("hub_recovery_swapped") {
        recovered.slots = remains.reclaim_slots();
    }
    recovered.drained = remains.drain();
    remains.reset_rings();
    recovered.slots += remains.reclaim_slots();
    recovered.leases = remains.drop_leases();
    recovered.traffic = remains.traffic();
    remains.vacate()?;
    Ok(recovered)
}
