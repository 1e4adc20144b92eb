//! Accounts: who pays for memory, and how much of it they may have.
//!
//! Accounts form a tree. What is charged to one is charged to each of its ancestors too, so a limit
//! holds for all that is below it together. Memory is charged *before* it is taken, and a [`Charge`]
//! is part of whatever holds the memory: dropping that returns exactly what was charged (I11).
//!
//! No lock is involved: each level is a few counters. A charge that fails at some level takes
//! back what it added below it; another that comes in between may be refused although it would
//! have fitted a moment later.

use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use abi::limits::MAX_ACCOUNT_DEPTH;
use abi::{Error, Resources};

/// How the kinds of resources are numbered here.
const KINDS: usize = 3;

fn amounts(resources: &Resources) -> [u64; KINDS] {
    [resources.frames, resources.tables, resources.bytes]
}

fn resources([frames, tables, bytes]: [u64; KINDS]) -> Resources {
    Resources {
        frames,
        tables,
        bytes,
    }
}

/// What is charged to somebody, and the most that may be.
pub struct Account {
    parent: Option<Arc<Account>>,
    /// Accounts on the way to the root, itself not included.
    depth: u32,
    /// `u64::MAX` where there is none.
    limits: [u64; KINDS],
    used: [AtomicU64; KINDS],
}

impl Account {
    /// The account that all others are below. It has no limits: the machine is the limit.
    pub fn root() -> Arc<Account> {
        Arc::new(Account {
            parent: None,
            depth: 0,
            limits: [u64::MAX; KINDS],
            used: Default::default(),
        })
    }

    /// An account below another, with limits of its own; 0 stands for none. `Limit`: it would be
    /// the one after [`MAX_ACCOUNT_DEPTH`] on its way to the root.
    pub fn below(parent: &Arc<Account>, quota: Resources) -> Result<Arc<Account>, Error> {
        let depth = parent.depth + 1;
        if depth >= MAX_ACCOUNT_DEPTH {
            return Err(Error::Limit);
        }
        let limit = |quota| if quota == 0 { u64::MAX } else { quota };
        Ok(Arc::new(Account {
            parent: Some(parent.clone()),
            depth,
            limits: amounts(&quota).map(limit),
            used: Default::default(),
        }))
    }

    /// What is charged to it. While others charge and release, the three need not belong together.
    pub fn used(&self) -> Resources {
        resources(
            self.used
                .each_ref()
                .map(|used| used.load(Ordering::Relaxed)),
        )
    }

    /// Its own limits; 0 stands for none.
    pub fn quota(&self) -> Resources {
        resources(
            self.limits
                .map(|limit| if limit == u64::MAX { 0 } else { limit }),
        )
    }

    /// Charges an amount to the account and to all above it, or to none of them. `Quota`: one of
    /// them does not cover it.
    pub fn charge(self: &Arc<Account>, amount: Resources) -> Result<Charge, Error> {
        self.add(&amount, None)?;
        Ok(Charge {
            account: self.clone(),
            amount,
        })
    }

    /// The accounts from this one up to `end`, which is not included; without it, up to the root.
    fn chain<'a>(&'a self, end: Option<&'a Account>) -> impl Iterator<Item = &'a Account> {
        core::iter::successors(Some(self), |account| account.parent.as_deref())
            .take_while(move |account| end.is_none_or(|end| !core::ptr::eq(*account, end)))
    }

    /// Adds an amount on the way to `end`, or nowhere.
    fn add(&self, amount: &Resources, end: Option<&Account>) -> Result<(), Error> {
        for account in self.chain(end) {
            if let Err(error) = account.add_here(amount) {
                self.subtract(amount, Some(account));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Takes an amount off on the way to `end`.
    fn subtract(&self, amount: &Resources, end: Option<&Account>) {
        for account in self.chain(end) {
            account.subtract_here(amount, KINDS);
        }
    }

    /// Takes an amount off on the way to the root: what a charge was for.
    fn give_back(&self, amount: &Resources) {
        if !cfg!(sabotage = "quota_not_returned") {
            self.subtract(amount, None);
        }
    }

    fn add_unchecked(&self, amount: &Resources) {
        for (used, amount) in self.used.iter().zip(amounts(amount)) {
            used.fetch_add(amount, Ordering::Relaxed);
        }
    }

    fn add_here(&self, amount: &Resources) -> Result<(), Error> {
        for (kind, amount_of_kind) in amounts(amount).into_iter().enumerate() {
            if amount_of_kind == 0 {
                continue;
            }
            let limit = self.limits[kind];
            let added =
                self.used[kind].fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                    used.checked_add(amount_of_kind)
                        .filter(|used| *used <= limit)
                });
            if added.is_err() {
                self.subtract_here(amount, kind);
                return Err(Error::Quota);
            }
        }
        Ok(())
    }

    /// Takes the first `kinds` kinds of an amount off.
    fn subtract_here(&self, amount: &Resources, kinds: usize) {
        for (used, amount) in self.used.iter().zip(amounts(amount)).take(kinds) {
            if amount > 0 {
                let before = used.fetch_sub(amount, Ordering::Relaxed);
                debug_assert!(before >= amount, "more is released than was charged");
            }
        }
    }

    /// The last account that is on the way of both to the root.
    fn common<'a>(mut a: &'a Account, mut b: &'a Account) -> Option<&'a Account> {
        while !core::ptr::eq(a, b) {
            if a.depth >= b.depth {
                a = a.parent.as_deref()?;
            } else {
                b = b.parent.as_deref()?;
            }
        }
        Some(a)
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("depth", &self.depth)
            .field("used", &self.used())
            .field("quota", &self.quota())
            .finish_non_exhaustive()
    }
}

/// An amount that an account has been charged with. It can't be copied; it returns what is left of
/// it when it is dropped, so it is kept by whatever holds the memory.
#[derive(Debug)]
#[must_use = "what is charged is returned when this is dropped"]
pub struct Charge {
    account: Arc<Account>,
    amount: Resources,
}

impl Charge {
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
        self.account.add(&more, None)?;
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

    /// Makes sure that another account could take it over, and sets so much aside there. `Quota`:
    /// it could not, and nothing has changed. Accounts above both are not charged twice.
    pub fn prepare(&self, payer: &Arc<Account>) -> Result<Prepared, Error> {
        let common = Account::common(&self.account, payer);
        payer.add(&self.amount, common)?;
        Ok(Prepared {
            from: self.account.clone(),
            to: payer.clone(),
            amount: self.amount,
        })
    }

    /// Makes the account pay that this was prepared for. Can't fail, even if the charge has changed
    /// since: what it has grown by is then not held against the limits.
    pub fn hand_over(&mut self, mut prepared: Prepared) {
        let to = prepared.to.clone();
        let common = Account::common(&self.account, &to);
        if Arc::ptr_eq(&self.account, &prepared.from) && self.amount == prepared.amount {
            // What was set aside is what is paid from now on.
            prepared.amount = Resources::NONE;
        } else {
            for account in to.chain(common) {
                account.add_unchecked(&self.amount);
            }
        }
        self.account.subtract(&self.amount, common);
        self.account = to;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.give_back(&self.amount);
    }
}

/// An amount set aside for a charge that is about to change hands; returned when it does not.
#[derive(Debug)]
#[must_use = "what is set aside is returned when this is dropped"]
pub struct Prepared {
    from: Arc<Account>,
    to: Arc<Account>,
    amount: Resources,
}

impl Drop for Prepared {
    fn drop(&mut self) {
        let common = Account::common(&self.from, &self.to);
        self.to.subtract(&self.amount, common);
    }
}
