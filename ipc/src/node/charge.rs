//! What is charged for a node, and whom.

use alloc::sync::Arc;

use abi::Error;
use mm::Account;

use super::Branch;
use crate::Platform;

impl<P: Platform> Branch<P> {
    /// Makes another account pay for it; see [`RecordCharge::hand_over`](mm::RecordCharge::hand_over).
    #[inline(always)]
    pub(crate) fn hand_over_charge(
        &self,
        payer: &Arc<Account>,
    ) -> Result<Option<Arc<Account>>, Error> {
        match &mut *self.charge.lock() {
            Some(charge) => charge.hand_over(payer),
            // It is gone, and so is what it cost.
            None => Ok(None),
        }
    }

    /// Undoes that; see [`RecordCharge::hand_back`](mm::RecordCharge::hand_back).
    pub(crate) fn hand_back_charge(&self, payer: &Arc<Account>, to: &Arc<Account>) {
        if let Some(charge) = &mut *self.charge.lock() {
            charge.hand_back(payer, to);
        }
    }

    /// Charges whoever pays for it with more bytes.
    pub(crate) fn extend_charge(&self, more: u64) -> Result<(), Error> {
        match &mut *self.charge.lock() {
            Some(charge) => charge.extend(more),
            None => Err(Error::Revoked),
        }
    }

    pub(crate) fn release_charge(&self, part: u64) {
        if let Some(charge) = &mut *self.charge.lock() {
            charge.release(part);
        }
    }

    /// Whether an account is charged for it with so much.
    pub(crate) fn is_charged(&self, account: &Arc<Account>, bytes: u64) -> bool {
        let charge = self.charge.lock();
        charge
            .as_ref()
            .is_some_and(|charge| charge.is(account, bytes))
    }

    /// Gives up what is charged for it and suspended.
    pub(crate) fn forgive(&self) {
        if let Some(charge) = self.charge.lock().take() {
            charge.forgive();
        }
    }
}
