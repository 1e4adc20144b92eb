//! What an account was charged with: a value inside what holds the memory, whose end returns it.
//!
//! Invariant kept here (docs/INVARIANTS.md): I11. A charge can't be copied, and what it says is what its
//! account and all above that were charged with.

use alloc::sync::Arc;
use core::{mem, ptr};

use abi::{Error, Resources};

use super::{Account, KINDS, amounts, resources};

/// An amount that an account has been charged with. It can't be copied; it returns what is left of
/// it when it is dropped, so it is kept by whatever holds the memory.
#[derive(Debug)]
#[must_use = "what is charged is returned when this is dropped"]
pub struct Charge {
    account: Arc<Account>,
    amount: Resources,
}

impl Charge {
    /// Of what was charged just now.
    #[inline(always)]
    pub(super) fn of(account: &Arc<Account>, amount: Resources) -> Charge {
        Charge {
            account: account.clone(),
            amount,
        }
    }

    /// Who pays.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// How much.
    pub fn amount(&self) -> Resources {
        self.amount
    }

    /// Charges more to the same account. `Quota`: nothing was added.
    pub fn extend(&mut self, more: Resources) -> Result<(), Error> {
        self.account.add(&more, ptr::null())?;
        let (amount, more) = (amounts(&self.amount), amounts(&more));
        self.amount = resources(core::array::from_fn(|kind| amount[kind] + more[kind]));
        Ok(())
    }

    /// Returns part of it, at most what it is.
    pub fn release(&mut self, part: Resources) {
        let (amount, part) = (amounts(&self.amount), amounts(&part));
        let part: [u64; KINDS] = core::array::from_fn(|kind| amount[kind].min(part[kind]));
        self.amount = resources(core::array::from_fn(|kind| amount[kind] - part[kind]));
        self.account.give_back(&resources(part));
    }

    /// Makes another account pay for it and returns the one that did, if it was another. `Quota`: that
    /// does not cover it, and nothing has changed. Accounts above both are not charged twice.
    #[inline]
    pub fn hand_over(&mut self, payer: &Arc<Account>) -> Result<Option<Arc<Account>>, Error> {
        match Arc::ptr_eq(&self.account, payer) {
            true => Ok(None),
            false => self.hand_over_to_other(payer).map(Some),
        }
    }

    fn hand_over_to_other(&mut self, payer: &Arc<Account>) -> Result<Arc<Account>, Error> {
        let common = Account::common(&self.account, payer);
        payer.add(&self.amount, common)?;
        self.account.subtract(&self.amount, common);
        Ok(mem::replace(&mut self.account, payer.clone()))
    }

    /// Undoes that `payer` took it over from an account, unless another pays for it by now. Can't fail:
    /// what somebody else was charged with meanwhile does not count against it.
    pub fn hand_back(&mut self, payer: &Arc<Account>, to: &Arc<Account>) {
        if Arc::ptr_eq(&self.account, payer) {
            Account::force(payer, to, &self.amount);
            self.account = to.clone();
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.give_back(&self.amount);
    }
}

/// A charge of bytes alone, for a record that is made and dropped all the time.
#[derive(Debug)]
#[must_use = "what is charged is returned when this is dropped"]
pub struct RecordCharge {
    account: Arc<Account>,
    bytes: u64,
}

impl RecordCharge {
    /// Of what was charged just now.
    #[inline(always)]
    pub(super) fn of(account: &Arc<Account>, bytes: u64) -> RecordCharge {
        RecordCharge {
            account: account.clone(),
            bytes,
        }
    }

    /// Charges more to the same account. `Quota`: nothing was added.
    pub fn extend(&mut self, more: u64) -> Result<(), Error> {
        self.account.add_bytes(more)?;
        self.bytes += more;
        Ok(())
    }

    /// Returns part of it, at most what it is.
    pub fn release(&mut self, part: u64) {
        let part = part.min(self.bytes);
        self.bytes -= part;
        self.account.subtract_bytes(part);
    }

    /// Gives up a charge that is [suspended](Account::suspend).
    pub fn forgive(mut self) {
        self.bytes = 0;
    }

    /// Whether it charges an account with so much.
    pub fn is(&self, account: &Arc<Account>, bytes: u64) -> bool {
        Arc::ptr_eq(&self.account, account) && self.bytes == bytes
    }

    /// As [`Charge::hand_over`].
    #[inline(always)]
    pub fn hand_over(&mut self, payer: &Arc<Account>) -> Result<Option<Arc<Account>>, Error> {
        match Arc::ptr_eq(&self.account, payer) {
            true => Ok(None),
            false => self.hand_over_to_other(payer).map(Some),
        }
    }

    #[inline(always)]
    fn hand_over_to_other(&mut self, payer: &Arc<Account>) -> Result<Arc<Account>, Error> {
        let common = Account::common(&self.account, payer);
        payer.add_bytes_below(self.bytes, common)?;
        self.account.subtract_bytes_below(self.bytes, common);
        Ok(mem::replace(&mut self.account, payer.clone()))
    }

    /// As [`Charge::hand_back`].
    pub fn hand_back(&mut self, payer: &Arc<Account>, to: &Arc<Account>) {
        if Arc::ptr_eq(&self.account, payer) {
            Account::force(payer, to, &Resources::bytes(self.bytes));
            self.account = to.clone();
        }
    }
}

impl Drop for RecordCharge {
    #[inline(always)]
    fn drop(&mut self) {
        self.account.subtract_bytes(self.bytes);
    }
}
