//! The capability table of one process: what its handles stand for.
//!
//! Looking a handle up takes the lock of its place alone (see [`places`](crate::places)); letting
//! capabilities in and out takes the table's. What is charged for a table grows with its places, which
//! stay until the process ends. Lock ranks: capability table, then places.

#[cfg(all(test, not(loom)))]
mod tests;

use alloc::sync::Arc;

use abi::limits::MAX_HANDLES;
use abi::{Error, Handle, ObjectKind, Rights, cost};
use mm::lock::{Guard, Lock, Rank};
use mm::{Account, RecordCharge};

use crate::lineage::Lineage;
use crate::places::{BLOCK, Left, NONE, Places, Tenant};
use crate::{Node, Object, Platform};

/// What a handle stands for, at the moment of looking it up.
#[derive(Debug)]
pub struct Capability<P: Platform> {
    /// Its place in the lineage.
    pub node: Node<P>,
    /// The domain that it was looked up in.
    pub(crate) holder: u64,
    /// What it was looked up for.
    pub(crate) rights: Rights,
}

impl<P: Platform> Capability<P> {
    /// The object.
    pub fn object(&self) -> &Arc<Object<P>> {
        self.node.object()
    }

    /// Does what a call is about, if the capability is still its domain's and allows it: a revoke, reduce or Move
    /// comes before the deed, which is refused then, or behind it (I5). The deed takes no lock up to the rank of a
    /// lineage. One that can't fail any more and that nobody else sees may as well follow.
    ///
    /// # Errors
    /// `BadHandle`, `InTransit`, `Revoked`, `Denied`: it does not allow it any more; those of the deed.
    pub fn commit<R>(&self, deed: impl FnOnce() -> Result<R, Error>) -> Result<R, Error> {
        let _lineage = self.stay()?;
        deed()
    }

    /// What a call tells of the object and has read by now, if the capability is still its domain's and allows it: then
    /// it was at every moment before, too, so nothing is told that came after its end (I5).
    ///
    /// # Errors
    /// As of [`commit`](Capability::commit).
    pub fn tell<R>(&self, facts: R) -> Result<R, Error> {
        match mm::sabotaged!("told_without_recheck") {
            true => Ok(facts),
            false => self.commit(|| Ok(facts)),
        }
    }

    /// Why a call is refused that has found something in the object: as of [`tell`](Capability::tell), unless the
    /// capability is gone or allows it no more, which comes first then. That nothing is there tells of the object, too.
    #[cold]
    pub fn refuse(&self, found: Error) -> Error {
        match mm::sabotaged!("refused_without_recheck") {
            true => found,
            false => self.commit(|| Ok(found)).unwrap_or_else(|gone| gone),
        }
    }

    /// Has it stay as it is for a deed that is done while this is held; see [`commit`](Capability::commit).
    pub(crate) fn stay(&self) -> Result<Guard<'_, Lineage<P>>, Error> {
        let lineage = self.object().lineage.lock();
        if !mm::sabotaged!("deed_without_recheck") {
            self.check()?;
        }
        Ok(lineage)
    }

    /// Whether it is its domain's at this moment and allows it.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.node.check_allowed(self.holder, self.rights)
    }
}

/// What a table holds: nodes.
pub(crate) trait Held {
    fn kind(&self) -> ObjectKind;

    /// Whether both are one.
    fn is(&self, other: &Self) -> bool;

    /// Ends the loan of a number by which its place has it; true: it is there, under this name if one is
    /// given. It is [named](Places) by nothing else then.
    fn recall(&self, _loan: u32, _handle: Option<Handle>) -> bool {
        false
    }
}

/// Handles and what they stand for. A place is used again under the next generation; one whose
/// generations are used up is retired, so a handle is never valid twice.
pub(crate) struct Table<T> {
    places: Places<T>,
    state: Lock<State>,
}

/// An empty place that is kept for a capability which is to come.
pub(crate) struct Kept(u32);

/// Which places are taken.
struct State {
    /// The first empty place that can be used, and how many there are.
    free: u32,
    free_len: usize,
    /// Handles, and places that are kept for some.
    live: usize,
    blocks: usize,
    /// Where to look for the next capability of a process that ends.
    next: u32,
    /// Of all blocks but the first, which a process is charged with from its beginning.
    charge: RecordCharge,
}

impl State {
    /// Adds a block of empty places, which come before those that are free already.
    fn add<T>(&mut self, places: &Places<T>, first: u32) {
        if let Some(place) = places.at(first + BLOCK as u32 - 1) {
            place.set_next_free(self.free);
        }
        self.free = first;
        self.free_len += BLOCK;
        self.blocks += 1;
    }
}

impl<T: Held> Table<T> {
    /// An empty table. `payer` pays for what it grows by. `NoMemory`.
    pub(crate) fn new(payer: &Arc<Account>) -> Result<Table<T>, Error> {
        const {
            // A lock of loom is larger.
            assert!(cfg!(loom) || Places::<T>::BLOCK_BYTES as u64 <= cost::HANDLES);
            assert!((size_of::<Table<T>>() + 256) as u64 + cost::HANDLES <= cost::SPACE - 512);
        }
        let mut table = Table {
            places: Places::new()?,
            state: Lock::new(
                Rank::Capabilities,
                State {
                    free: NONE,
                    free_len: 0,
                    live: 0,
                    blocks: 0,
                    next: 0,
                    charge: payer.charge_nothing(),
                },
            ),
        };
        table.state.get_mut().add(&table.places, 0);
        Ok(table)
    }

    /// Locks it, so that nothing moves in or out.
    #[inline(always)]
    pub(crate) fn lock(&self) -> Locked<'_, T> {
        Locked {
            places: &self.places,
            state: self.state.lock(),
        }
    }

    /// Takes a capability out if `wanted`, and keeps its place for the next one of its kind: with the
    /// lock of the place alone. No place is kept of one whose generations are used up, which takes the
    /// table's lock afterwards to say so.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn exchange(
        &self,
        handle: Handle,
        wanted: impl FnOnce(&T) -> Result<(), Error>,
    ) -> Result<(T, Option<Kept>), Error> {
        let mut tenant = self.tenant(handle)?;
        wanted(tenant.named(handle)?)?;
        self.exchange_tenant(handle, tenant)
    }

    /// The same of one that is wanted: what the handle [names](Tenant::named).
    #[inline(always)]
    pub(crate) fn exchange_tenant(
        &self,
        handle: Handle,
        mut tenant: Guard<'_, Tenant<T>>,
    ) -> Result<(T, Option<Kept>), Error> {
        let index = handle.index();
        let (node, usable) = tenant.leave(handle, NONE)?;
        drop(tenant);
        if !usable {
            self.lock().state.live -= 1;
        }
        if mm::sabotaged!("kept_place_is_free") {
            self.lock().give_back(&Kept(index));
        }
        Ok((node, usable.then_some(Kept(index))))
    }

    /// Puts a capability into the place that was kept for it.
    #[inline(always)]
    pub(crate) fn fill(&self, kept: &Kept, kind: ObjectKind, node: T) -> Handle {
        let Some(place) = self.places.at(kept.0) else {
            debug_assert!(false, "a place that is not there was kept");
            return Handle::NONE;
        };
        place.move_in(kept.0, kind, node).0
    }

    /// Puts what was taken out of a place into it again, by a loan that says itself what names it.
    pub(crate) fn lend(&self, kept: &Kept, loan: u32, node: T) {
        if let Some(place) = self.places.at(kept.0) {
            place.lend(kept.0, loan, node);
        }
    }

    /// Takes a place back from a loan, which is kept then for the tenant behind that of a handle; and what was
    /// lent, with the number of the loan. None: the process has ended, and the place is nobody's.
    pub(crate) fn take_back(&self, handle: Handle) -> Option<(Kept, T, u32)> {
        let (lent, loan) = self.places.of(handle)?.take_back(handle)?;
        Some((Kept(handle.index()), lent, loan))
    }

    /// Undoes an exchange: the handle stands for what it stood for.
    #[cold]
    pub(crate) fn put_back(&self, handle: Handle, kept: Option<Kept>, node: T) {
        if let Some(place) = self.places.of(handle)
            && !mm::sabotaged!("refused_answer_uses_up_right")
        {
            place.move_back(handle, node);
        }
        if kept.is_none() {
            self.lock().state.live += 1;
        }
    }

    /// The place that a handle leads to, while nobody moves in or out there; whether the handle
    /// [names](Tenant::named) what is there is not looked at. Who has it takes no lock of a rank below
    /// places.
    #[inline(always)]
    pub(crate) fn tenant(&self, handle: Handle) -> Result<Guard<'_, Tenant<T>>, Error> {
        let place = self.places.of(handle).ok_or(Error::BadHandle)?;
        Ok(place.tenant().lock())
    }

    /// Calls `f` with what a handle stands for, however it stands, while it stays there. `f` takes no
    /// lock of a rank below places.
    #[inline(always)]
    pub(crate) fn with<R>(
        &self,
        handle: Handle,
        f: impl FnOnce(&T) -> Result<R, Error>,
    ) -> Result<R, Error> {
        with(&self.places, handle, f)
    }

    /// The same of what is not lent, without waiting for who uses its place at this moment.
    #[inline(always)]
    pub(crate) fn try_with<R>(&self, handle: Handle, f: impl FnOnce(&T) -> Option<R>) -> Option<R> {
        let mut tenant = self.places.of_first(handle).tenant().try_lock()?;
        if !tenant.has_name(handle) && !mm::sabotaged!("short_way_by_any_generation") {
            tenant = try_further(&self.places, handle, tenant)?;
        }
        f(tenant.value()?)
    }
}

#[cold]
#[inline(never)]
fn try_further<'a, T: Held>(
    places: &'a Places<T>,
    handle: Handle,
    tenant: Guard<'a, Tenant<T>>,
) -> Option<Guard<'a, Tenant<T>>> {
    drop(tenant);
    let tenant = places.of(handle)?.tenant().try_lock()?;
    tenant.has_name(handle).then_some(tenant)
}

#[inline(always)]
fn with<T: Held, R>(
    places: &Places<T>,
    handle: Handle,
    f: impl FnOnce(&T) -> Result<R, Error>,
) -> Result<R, Error> {
    // Who has another name is not asked which block the handle is of.
    let mut tenant = places.of_first(handle).tenant().lock();
    if !tenant.has_name(handle) {
        tenant = look_further(places, handle, tenant)?;
    }
    f(tenant.named(handle)?)
}

#[cold]
#[inline(never)]
fn look_further<'a, T: Held>(
    places: &'a Places<T>,
    handle: Handle,
    tenant: Guard<'a, Tenant<T>>,
) -> Result<Guard<'a, Tenant<T>>, Error> {
    if places.is_of_first(handle) {
        return Ok(tenant);
    }
    drop(tenant);
    let place = places.of(handle).ok_or(Error::BadHandle)?;
    Ok(place.tenant().lock())
}

/// A table that is locked.
pub(crate) struct Locked<'a, T> {
    places: &'a Places<T>,
    state: Guard<'a, State>,
}

impl<T: Held> Locked<'_, T> {
    /// How many handles there are, and places that are kept for some.
    pub(crate) fn len(&self) -> usize {
        self.state.live
    }

    /// Whether the next insertion takes a place that is there.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        let state = &*self.state;
        state.free_len > 0 && state.live < MAX_HANDLES
    }

    /// Keeps a place for a capability that is to come. `Limit`, `Quota`, `NoMemory`.
    pub(crate) fn keep(&mut self) -> Result<Kept, Error> {
        self.prepare(1)?;
        let index = self.state.free;
        let place = self.places.at(index).ok_or(Error::Limit)?;
        self.state.free = place.next_free();
        self.state.free_len -= 1;
        self.state.live += 1;
        Ok(Kept(index))
    }

    /// Gives a place that was kept up.
    pub(crate) fn give_back(&mut self, kept: &Kept) {
        if let Some(place) = self.places.at(kept.0) {
            place.set_next_free(self.state.free);
            self.state.free = kept.0;
            self.state.free_len += 1;
            self.state.live -= 1;
        }
    }

    /// Whether [`prepare`](Locked::prepare) finds so many places that are there.
    #[inline(always)]
    pub(crate) fn has_places(&self, count: usize) -> bool {
        self.state.free_len >= count
    }

    /// Makes sure that the next `count` insertions can't fail while the table stays locked.
    #[inline]
    pub(crate) fn prepare(&mut self, count: usize) -> Result<(), Error> {
        if self.state.live + count > MAX_HANDLES {
            return Err(Error::Limit);
        }
        while self.state.free_len < count {
            self.grow()?;
        }
        Ok(())
    }

    #[cold]
    fn grow(&mut self) -> Result<(), Error> {
        self.state.charge.extend(cost::HANDLES)?;
        let first = self
            .places
            .grow(self.state.blocks)
            .inspect_err(|_| self.state.charge.release(cost::HANDLES))?;
        self.state.add(self.places, first);
        Ok(())
    }

    /// Puts a capability in, after [`prepare`](Locked::prepare). Without that, the capability is gone and the
    /// handle is none.
    #[inline(always)]
    pub(crate) fn insert(&mut self, node: T) -> Handle {
        let index = self.state.free;
        let Some(place) = self.places.at(index).filter(|_| index != NONE) else {
            debug_assert!(false, "an insertion that was not prepared");
            return Handle::NONE;
        };
        let kind = node.kind();
        let (handle, next_free) = place.move_in(index, kind, node);
        self.state.free = next_free;
        self.state.free_len -= 1;
        self.state.live += 1;
        handle
    }

    /// Takes a capability out; its handle is never valid again.
    pub(crate) fn remove(&mut self, handle: Handle) -> Option<T> {
        self.remove_if(handle, |_| Ok(())).ok()
    }

    /// Takes a capability out if `wanted`. `BadHandle`: there is none.
    #[inline(always)]
    pub(crate) fn remove_if(
        &mut self,
        handle: Handle,
        wanted: impl FnOnce(&T) -> Result<(), Error>,
    ) -> Result<T, Error> {
        let index = handle.index();
        let place = self.places.of(handle).ok_or(Error::BadHandle)?;
        let (node, usable) = place.move_out(handle, self.state.free, wanted)?;
        self.state.live -= 1;
        if usable {
            self.state.free = index;
            self.state.free_len += 1;
        }
        Ok(node)
    }

    /// Takes any capability out, or what its place had by a loan. For a process that ends.
    pub(crate) fn pop(&mut self) -> Option<Left<T>> {
        let end = (self.state.blocks * BLOCK) as u32;
        while self.state.next < end {
            let index = self.state.next;
            let place = self.places.at(index);
            self.state.next += 1;
            if let Some(left) = place.and_then(|place| place.clear(index)) {
                self.state.live -= 1;
                return Some(left);
            }
        }
        self.state.next = 0;
        None
    }

    /// Whether a handle stands for this very node.
    pub(crate) fn holds(&self, handle: Handle, node: &T) -> bool {
        self.with(handle, |held| Ok(held.is(node))) == Ok(true)
    }

    /// As [`Table::with`].
    #[inline(always)]
    pub(crate) fn with<R>(
        &self,
        handle: Handle,
        f: impl FnOnce(&T) -> Result<R, Error>,
    ) -> Result<R, Error> {
        with(self.places, handle, f)
    }
}
