//! What the name service knows: who is registered under which name, and who wants to hear of it.
//!
//! Nothing here waits or calls the kernel, so that it is tested on the host. Numbers of sessions,
//! registrations and watches come from one counter and are never used twice: an event of something that
//! is gone is an event of nothing.

use alloc::collections::BTreeMap;
use core::ops::ControlFlow;

pub use rt::names::protocol::{Name, Refusal};

/// Sessions at most, all together.
pub const MAX_SESSIONS: usize = 512;
/// Names at most, all together.
pub const MAX_NAMES: usize = 256;
/// Watches at most, all together.
pub const MAX_WATCHES: usize = 512;
/// What one tenant may have of each: a session that was attached by the first one, with all that it
/// attaches itself.
pub const TENANT: Counts = Counts {
    sessions: 64,
    names: 32,
    watches: 64,
};

/// How many there are of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sessions.
    pub sessions: usize,
    /// Names.
    pub names: usize,
    /// Watches.
    pub watches: usize,
}

/// Who hears that a name appears or goes.
pub trait Tell {
    /// Sets bits. It never waits; `Break` when nobody will hear any more.
    fn tell(&self, bits: u64) -> ControlFlow<()>;
}

#[derive(Debug)]
struct Registration<E> {
    key: u64,
    session: u64,
    end: E,
}

#[derive(Debug)]
struct Watch<N> {
    session: u64,
    name: Name,
    appeared: u64,
    gone: u64,
    notification: N,
}

/// Names, sessions and watches. `E` is what a name leads to, `N` who hears of names.
#[derive(Debug)]
pub struct Registry<E, N> {
    /// The tenant of each session.
    sessions: BTreeMap<u64, u64>,
    tenants: BTreeMap<u64, Counts>,
    names: BTreeMap<Name, Registration<E>>,
    watches: BTreeMap<u64, Watch<N>>,
    next: u64,
}

impl<E, N: Tell> Default for Registry<E, N> {
    fn default() -> Registry<E, N> {
        Registry::new()
    }
}

impl<E, N: Tell> Registry<E, N> {
    /// The number of the first session, which is there from the beginning.
    pub const ROOT: u64 = 0;

    /// The first session, and nothing else.
    pub fn new() -> Registry<E, N> {
        let counts = Counts {
            sessions: 1,
            ..Counts::default()
        };
        Registry {
            sessions: BTreeMap::from([(Self::ROOT, Self::ROOT)]),
            tenants: BTreeMap::from([(Self::ROOT, counts)]),
            names: BTreeMap::new(),
            watches: BTreeMap::new(),
            next: Self::ROOT + 1,
        }
    }

    /// How many there are of each.
    pub fn counts(&self) -> Counts {
        Counts {
            sessions: self.sessions.len(),
            names: self.names.len(),
            watches: self.watches.len(),
        }
    }

    /// Adds a session that another one attaches, and returns its number.
    pub fn attach(&mut self, by: u64) -> Result<u64, Refusal> {
        let tenant = self.tenant(by)?;
        let own = tenant != Self::ROOT;
        if self.sessions.len() == MAX_SESSIONS
            || own && self.tenants[&tenant].sessions == TENANT.sessions
        {
            return Err(Refusal::Limit);
        }
        let session = self.number();
        let tenant = if own { tenant } else { session };
        self.sessions.insert(session, tenant);
        self.tenants.entry(tenant).or_default().sessions += 1;
        Ok(session)
    }

    /// Ends a session with all that it registered and watches.
    pub fn close(&mut self, session: u64) {
        let Some(tenant) = self.sessions.remove(&session) else {
            return;
        };
        let mine = self
            .watches
            .extract_if(.., |_, watch| watch.session == session);
        let watches = mine.count();
        let mine = (self.names).extract_if(.., |_, registration| registration.session == session);
        let names = alloc::vec::Vec::from_iter(mine.map(|(name, _)| name));
        if let Some(counts) = self.tenants.get_mut(&tenant) {
            counts.watches -= watches;
            counts.names -= names.len();
            counts.sessions -= 1;
            if *counts == Counts::default() {
                self.tenants.remove(&tenant);
            }
        }
        for name in names {
            self.tell(name, |watch| watch.gone);
        }
    }

    /// Registers a name and returns the number of the registration. `admit` is the last that can refuse
    /// it, before anybody is told; it gets the number.
    pub fn register(
        &mut self,
        session: u64,
        name: Name,
        end: E,
        admit: impl FnOnce(u64, &E) -> Result<(), Refusal>,
    ) -> Result<u64, Refusal> {
        let tenant = self.tenant(session)?;
        if self.names.contains_key(&name) {
            return Err(Refusal::Exists);
        }
        let names = (self.tenants.get(&tenant)).map_or(0, |counts| counts.names);
        if self.names.len() == MAX_NAMES || tenant != Self::ROOT && names == TENANT.names {
            return Err(Refusal::Limit);
        }
        let key = self.number();
        admit(key, &end)?;
        self.tenants.entry(tenant).or_default().names += 1;
        let registration = Registration { key, session, end };
        self.names.insert(name, registration);
        self.tell(name, |watch| watch.appeared);
        Ok(key)
    }

    /// What a name leads to, and the number of the registration.
    pub fn find(&self, name: Name) -> Option<(u64, &E)> {
        let registration = self.names.get(&name)?;
        Some((registration.key, &registration.end))
    }

    /// Withdraws a name for the session that registered it; returns what it led to.
    pub fn withdraw(&mut self, session: u64, name: Name) -> Result<E, Refusal> {
        match self.names.get(&name) {
            Some(registration) if registration.session == session => {
                self.remove(name).ok_or(Refusal::NotFound)
            }
            _ => Err(Refusal::NotFound),
        }
    }

    /// Ends a registration because nobody receives there any more. A number that is out of date is
    /// none.
    pub fn lost(&mut self, key: u64) -> Option<E> {
        let mut names = self.names.iter();
        let (&name, _) = names.find(|(_, registration)| registration.key == key)?;
        self.remove(name)
    }

    /// Watches a name, and returns the number of the watch.
    pub fn watch(
        &mut self,
        session: u64,
        name: Name,
        [appeared, gone]: [u64; 2],
        notification: N,
    ) -> Result<u64, Refusal> {
        let tenant = self.tenant(session)?;
        let counts = self.tenants.entry(tenant).or_default();
        if self.watches.len() == MAX_WATCHES
            || tenant != Self::ROOT && counts.watches == TENANT.watches
        {
            return Err(Refusal::Limit);
        }
        if self.names.contains_key(&name) && appeared != 0 {
            // Who can't be told now is no watcher, which is no affair of anybody else's.
            if notification.tell(appeared).is_break() {
                return Err(Refusal::Malformed);
            }
        }
        counts.watches += 1;
        let key = self.number();
        let watch = Watch {
            session,
            name,
            appeared,
            gone,
            notification,
        };
        self.watches.insert(key, watch);
        Ok(key)
    }

    /// Takes a watch of a session back.
    pub fn unwatch(&mut self, session: u64, key: u64) -> Result<(), Refusal> {
        let is_own = (self.watches.get(&key)).is_some_and(|watch| watch.session == session);
        if !is_own {
            return Err(Refusal::NotFound);
        }
        self.watches.remove(&key);
        self.uncount(session, |counts| counts.watches -= 1);
        Ok(())
    }

    fn remove(&mut self, name: Name) -> Option<E> {
        let registration = self.names.remove(&name)?;
        self.uncount(registration.session, |counts| counts.names -= 1);
        self.tell(name, |watch| watch.gone);
        Some(registration.end)
    }

    /// Tells everybody who watches a name, and forgets who does not hear any more.
    fn tell(&mut self, name: Name, bits: impl Fn(&Watch<N>) -> u64) {
        let deaf = self.watches.extract_if(.., |_, watch| {
            let bits = bits(watch);
            watch.name == name && bits != 0 && watch.notification.tell(bits).is_break()
        });
        let sessions = alloc::vec::Vec::from_iter(deaf.map(|(_, watch)| watch.session));
        for session in sessions {
            self.uncount(session, |counts| counts.watches -= 1);
        }
    }

    fn uncount(&mut self, session: u64, less: impl FnOnce(&mut Counts)) {
        let tenant = self.sessions.get(&session);
        if let Some(counts) = tenant.and_then(|tenant| self.tenants.get_mut(tenant)) {
            less(counts);
        }
    }

    fn tenant(&self, session: u64) -> Result<u64, Refusal> {
        self.sessions
            .get(&session)
            .copied()
            .ok_or(Refusal::NotFound)
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }
}
