//! Accounts: who pays for memory, and how much of it they may have.
//!
//! Accounts form a tree. What is charged to one is charged to each of its ancestors too, so a limit
//! holds for all that is below it together. Memory is charged *before* it is taken, and a [`Charge`]
//! is part of whatever holds the memory: dropping that returns exactly what was charged (I11).
//!
//! No lock is involved, and a level is one counter for each kind, of what is left: a charge takes
//! its amount off and looks whether less than nothing remains. One that fails at some level gives
//! back what it took up to there; another that comes in between may be refused although it would
//! have fitted a moment later.

mod charge;

use alloc::sync::Arc;
use core::sync::atomic::{AtomicI64, Ordering};
use core::{fmt, ptr};

use abi::limits::MAX_ACCOUNT_DEPTH;
use abi::{Error, Resources};

pub use self::charge::{Charge, RecordCharge};

/// How the kinds of resources are numbered here.
const KINDS: usize = 3;
const BYTES: usize = 2;

/// The most that one charge may add of a kind: so little that charges which are just being refused,
/// one for each CPU, never make a counter wrap.
const MOST_AT_ONCE: u64 = 1 << 56;

type Amounts = [u64; KINDS];

#[inline(always)]
fn amounts(resources: &Resources) -> Amounts {
    [resources.frames, resources.tables, resources.bytes]
}

#[inline(always)]
fn resources([frames, tables, bytes]: Amounts) -> Resources {
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
    quota: Resources,
    /// What is left of each kind. Below nothing for a moment while a charge is being refused, and
    /// when one had to be handed back.
    room: [AtomicI64; KINDS],
}

impl Account {
    /// The account that all others are below. It has no limits: the machine is the limit.
    pub fn root() -> Arc<Account> {
        Account::new(None, 0, Resources::NONE)
    }

    /// An account below another, with limits of its own; 0 stands for none. `Limit`: it would be
    /// the one after [`MAX_ACCOUNT_DEPTH`] on its way to the root.
    pub fn below(parent: &Arc<Account>, quota: Resources) -> Result<Arc<Account>, Error> {
        let depth = parent.depth + 1;
        if depth >= MAX_ACCOUNT_DEPTH {
            return Err(Error::Limit);
        }
        Ok(Account::new(Some(parent.clone()), depth, quota))
    }

    fn new(parent: Option<Arc<Account>>, depth: u32, quota: Resources) -> Arc<Account> {
        crate::shared(Account {
            parent,
            depth,
            quota,
            room: amounts(&quota).map(|quota| AtomicI64::new(limit(quota))),
        })
    }

    /// What is charged to it. While others charge and release, the three need not belong together,
    /// and what is just being refused may be among it.
    pub fn used(&self) -> Resources {
        let limits = amounts(&self.quota).map(limit);
        resources(core::array::from_fn(|kind| {
            limits[kind].wrapping_sub(self.room[kind].load(Ordering::Relaxed)) as u64
        }))
    }

    /// Its own limits; 0 stands for none.
    pub fn quota(&self) -> Resources {
        self.quota
    }

    /// Charges an amount to the account and to all above it, or to none of them. `Quota`: one of
    /// them does not cover it.
    pub fn charge(self: &Arc<Account>, amount: Resources) -> Result<Charge, Error> {
        self.add(&amount, ptr::null())?;
        Ok(Charge::of(self, amount))
    }

    /// Charges bytes for a record, as [`charge`](Account::charge) does.
    #[inline(always)]
    pub fn charge_record(self: &Arc<Account>, bytes: u64) -> Result<RecordCharge, Error> {
        self.add_bytes(bytes)?;
        Ok(RecordCharge::of(self, bytes))
    }

    /// Takes off what a [`RecordCharge`] of this account stands for, while nobody has use of the record.
    /// Either [`resume`](Account::resume) follows or [`RecordCharge::forgive`].
    #[inline(always)]
    pub fn suspend(self: &Arc<Account>, bytes: u64) {
        self.subtract_bytes(bytes);
    }

    /// Charges again what was suspended. `Quota`: it stays so.
    #[inline(always)]
    pub fn resume(self: &Arc<Account>, bytes: u64) -> Result<(), Error> {
        self.add_bytes(bytes)
    }

    /// A charge of nothing, to be extended.
    pub fn charge_nothing(self: &Arc<Account>) -> RecordCharge {
        RecordCharge::of(self, 0)
    }

    /// Charges bytes. Whoever does is the charge: its drop calls [`subtract_bytes`].
    ///
    /// [`subtract_bytes`]: Account::subtract_bytes
    #[inline(always)]
    pub(crate) fn add_bytes(self: &Arc<Account>, bytes: u64) -> Result<(), Error> {
        self.add_bytes_below(bytes, ptr::null())
    }

    /// The same on the way to `end`.
    #[inline(always)]
    fn add_bytes_below(self: &Arc<Account>, bytes: u64, end: *const Account) -> Result<(), Error> {
        debug_assert!(bytes <= MOST_AT_ONCE);
        let less = -(bytes as i64);
        let mut next = Some(self);
        while let Some(account) = next.filter(|account| Arc::as_ptr(account) != end) {
            // In this form it is one instruction, and one that looks at the sign.
            let room = &account.room[BYTES];
            if room.fetch_add(less, Ordering::Relaxed).wrapping_add(less) < 0 {
                return Err(self.refuse_bytes(bytes, account));
            }
            next = account.parent.as_ref();
        }
        Ok(())
    }

    /// Returns bytes that were charged.
    #[inline(always)]
    pub(crate) fn subtract_bytes(self: &Arc<Account>, bytes: u64) {
        if !crate::sabotaged!("quota_not_returned") {
            self.subtract_bytes_below(bytes, ptr::null());
        }
    }

    #[inline(always)]
    fn subtract_bytes_below(self: &Arc<Account>, bytes: u64, end: *const Account) {
        let mut next = Some(self);
        while let Some(account) = next.filter(|account| Arc::as_ptr(account) != end) {
            account.room[BYTES].fetch_add(bytes as i64, Ordering::Relaxed);
            next = account.parent.as_ref();
        }
    }

    /// Moves an amount from one account to another, whatever that covers.
    fn force(from: &Arc<Account>, to: &Account, amount: &Resources) {
        let common = Account::common(from, to);
        for account in to.chain(common) {
            for (room, amount) in account.room.iter().zip(amounts(amount)) {
                room.fetch_sub(amount as i64, Ordering::Relaxed);
            }
        }
        from.subtract(amount, common);
    }

    /// Takes back what was charged up to the account that refused it.
    #[cold]
    fn refuse_bytes(self: &Arc<Account>, bytes: u64, refusing: &Account) -> Error {
        self.refuse(&amounts(&Resources::bytes(bytes)), refusing, KINDS)
    }

    /// The accounts from this one up to `end`, which is not included; without it, up to the root.
    fn chain(&self, end: *const Account) -> impl Iterator<Item = &Account> {
        core::iter::successors(Some(self), |account| account.parent.as_deref())
            .take_while(move |account| !ptr::eq(*account, end))
    }

    /// Adds an amount on the way to `end`, or nowhere.
    #[inline]
    fn add(self: &Arc<Account>, amount: &Resources, end: *const Account) -> Result<(), Error> {
        let amounts = amounts(amount);
        // One look at all of them before the exact one.
        if amounts[0] | amounts[1] | amounts[2] >= MOST_AT_ONCE
            && amounts.iter().any(|amount| *amount > MOST_AT_ONCE)
        {
            return Err(Error::Quota);
        }
        let mut next = Some(self);
        while let Some(account) = next.filter(|account| Arc::as_ptr(account) != end) {
            if let Err(kinds) = account.add_here(&amounts) {
                return Err(self.refuse(&amounts, account, kinds));
            }
            next = account.parent.as_ref();
        }
        Ok(())
    }

    /// Takes back what was charged up to the account that refused it, which has been charged with so
    /// many kinds.
    #[cold]
    fn refuse(self: &Arc<Account>, amounts: &Amounts, refusing: &Account, kinds: usize) -> Error {
        for (room, amount) in refusing.room.iter().zip(amounts).take(kinds) {
            room.fetch_add(*amount as i64, Ordering::Relaxed);
        }
        self.subtract(&resources(*amounts), refusing);
        Error::Quota
    }

    /// Takes an amount off on the way to `end`.
    #[inline]
    fn subtract(self: &Arc<Account>, amount: &Resources, end: *const Account) {
        let amounts = amounts(amount);
        let mut next = Some(self);
        while let Some(account) = next.filter(|account| Arc::as_ptr(account) != end) {
            account.subtract_here(&amounts);
            next = account.parent.as_ref();
        }
    }

    /// Takes an amount off on the way to the root: what a charge was for.
    #[inline]
    fn give_back(self: &Arc<Account>, amount: &Resources) {
        if !crate::sabotaged!("quota_not_returned") {
            self.subtract(amount, ptr::null());
        }
    }

    /// Adds an amount to this level; with an error, that of how many kinds, the last of which it does not
    /// cover.
    #[inline(always)]
    fn add_here(&self, amounts: &Amounts) -> Result<(), usize> {
        for (kind, (room, amount)) in self.room.iter().zip(amounts).enumerate() {
            // What is below nothing for a moment refuses no charge of other kinds.
            let less = -(*amount as i64);
            if *amount > 0 && room.fetch_add(less, Ordering::Relaxed).wrapping_add(less) < 0 {
                return Err(kind + 1);
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn subtract_here(&self, amounts: &Amounts) {
        for (room, amount) in self.room.iter().zip(amounts) {
            if *amount > 0 {
                room.fetch_add(*amount as i64, Ordering::Relaxed);
            }
        }
        debug_assert!(self.nothing_is_missing());
    }

    /// Whether no more was released than was charged.
    fn nothing_is_missing(&self) -> bool {
        let limits = amounts(&self.quota).map(limit);
        let rooms = self.room.iter().map(|room| room.load(Ordering::Relaxed));
        rooms.zip(limits).all(|(room, limit)| room <= limit)
    }

    /// The last account that is on the way of both to the root; nothing for those of two roots.
    fn common(a: &Account, b: &Account) -> *const Account {
        let mut ways = (Some(a), Some(b));
        while let (Some(a), Some(b)) = ways {
            if ptr::eq(a, b) {
                return a;
            }
            ways = match a.depth >= b.depth {
                true => (a.parent.as_deref(), Some(b)),
                false => (Some(a), b.parent.as_deref()),
            };
        }
        ptr::null()
    }
}

/// What a quota covers; 0 stands for all that can be counted.
fn limit(quota: u64) -> i64 {
    match quota {
        0 => i64::MAX,
        quota => i64::try_from(quota).unwrap_or(i64::MAX),
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
