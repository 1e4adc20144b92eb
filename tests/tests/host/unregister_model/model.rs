//! What the entries of several rings say that register handles, use them and let them go.

use std::collections::VecDeque;

use abi::submission::{Registered, Submission};
use abi::{Error, FOREVER, Handle};

use crate::common::registered::{Done, register_entry, unregister_entry, wait_by};
use crate::common::submissions::{LINK, cancel};

pub const SLOTS: usize = 3;
pub const RINGS: usize = 2;

/// What an entry does by handles of which each has a slot of its own.
#[derive(Clone, Copy, Debug)]
pub enum Does {
    Register { slot: usize },
    Use { id: Registered },
    LetGo { id: Registered, deadline_ns: u64 },
    Cancel { number: u64 },
}

/// The same as it is drawn: by the number that a slot has when the batch is made, or by the next, and of what could be
/// cancelled by one.
#[derive(Clone, Copy, Debug)]
pub enum Drawn {
    Register(usize),
    Use(usize, bool),
    LetGo(usize, bool, u64),
    Cancel(usize),
}

#[derive(Clone, Copy, Debug)]
pub struct Entry {
    number: u64,
    does: Does,
    linked: bool,
}

impl Entry {
    pub fn to_submission(self, bells: &[Handle; SLOTS]) -> Submission {
        let Entry { number, .. } = self;
        let mut entry = match self.does {
            Does::Register { slot } => register_entry(number, bells[slot], slot as u64),
            Does::Use { id } => Submission {
                user_data: number,
                ..wait_by(id, FOREVER)
            },
            Does::LetGo { id, deadline_ns } => unregister_entry(number, id, deadline_ns),
            Does::Cancel { number: target } => cancel(number, target),
        };
        if self.linked {
            entry.flags |= LINK.bits();
        }
        entry
    }
}

/// A slot as it should be.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    pub id: Registered,
    pub live: bool,
    /// Operations that use it, and the ring and the place of the one that has it retire.
    users: usize,
    pub retirer: Option<(usize, usize)>,
}

impl Slot {
    /// Nobody uses it.
    fn free(&mut self) {
        self.live = false;
        self.id = self.id.next().expect("generations are left");
    }
}

/// An operation that waits, and what is linked behind it.
#[derive(Debug)]
pub struct Pending {
    entry: Entry,
    rest: Vec<Entry>,
}

/// A ring as it should be: what waits, each in the first place that was free, and what is to be looked at, in turn.
#[derive(Debug, Default)]
pub struct Desk {
    pending: Vec<Option<Pending>>,
    due: VecDeque<usize>,
    pub done: Done,
}

impl Desk {
    fn place(&mut self, pending: Pending) -> usize {
        let free = self.pending.iter().position(Option::is_none);
        let place = free.unwrap_or_else(|| {
            self.pending.push(None);
            self.pending.len() - 1
        });
        self.pending[place] = Some(pending);
        self.note(place);
        place
    }

    fn note(&mut self, place: usize) {
        if !self.due.contains(&place) {
            self.due.push_back(place);
        }
    }

    fn cancel_all(&mut self, entries: &[Entry]) {
        let cancelled = entries
            .iter()
            .map(|entry| (entry.number, Err(Error::Cancelled)));
        self.done.extend(cancelled);
    }
}

pub struct Model {
    pub slots: [Slot; SLOTS],
    pub desks: [Desk; RINGS],
}

impl Model {
    pub fn new() -> Model {
        Model {
            slots: std::array::from_fn(|slot| Slot {
                id: Registered::new(slot as u16, 1),
                live: false,
                users: 0,
                retirer: None,
            }),
            desks: Default::default(),
        }
    }

    /// What is meant by what was drawn; a batch has the numbers from `first` on.
    pub fn entry(&self, number: u64, first: u64, drawn: Drawn, linked: bool) -> Entry {
        let id = |slot: usize, next: bool| {
            let id = self.slots[slot].id;
            match next {
                true => id.next().expect("generations are left"),
                false => id,
            }
        };
        let does = match drawn {
            Drawn::Register(slot) => Does::Register { slot },
            Drawn::Use(slot, next) => Does::Use { id: id(slot, next) },
            Drawn::LetGo(slot, next, deadline_ns) => {
                let id = id(slot, next);
                Does::LetGo { id, deadline_ns }
            }
            Drawn::Cancel(which) => {
                let waiting = self
                    .desks
                    .iter()
                    .flat_map(|desk| desk.pending.iter().flatten());
                let behind =
                    waiting.flat_map(|pending| [&pending.entry].into_iter().chain(&pending.rest));
                let all: Vec<_> = behind
                    .map(|entry| entry.number)
                    .chain(first..=number)
                    .collect();
                Does::Cancel {
                    number: all[which % all.len()],
                }
            }
        };
        Entry {
            number,
            does,
            linked,
        }
    }

    /// The slot of a number that is registered.
    fn slot(&mut self, id: Registered) -> Option<&mut Slot> {
        let slot = &mut self.slots[usize::from(id.slot())];
        (slot.live && slot.id == id).then_some(slot)
    }

    /// An operation that uses a number does so no more.
    fn leave(&mut self, id: Registered) {
        let slot = self.slot(id).expect("who uses it keeps it");
        slot.users -= 1;
        if slot.users == 0
            && let Some((ring, place)) = slot.retirer.take()
        {
            slot.free();
            self.desks[ring].note(place);
        }
    }

    /// What an entry says at once, or that it waits.
    fn start(&mut self, ring: usize, does: Does) -> Option<Result<u64, Error>> {
        Some(match does {
            Does::Register { slot } => {
                let slot = &mut self.slots[slot];
                match std::mem::replace(&mut slot.live, true) {
                    true => Err(Error::Exists),
                    false => Ok(slot.id.bits()),
                }
            }
            Does::Use { id } => match self.slot(id) {
                Some(slot) if slot.retirer.is_none() => {
                    slot.users += 1;
                    return None;
                }
                _ => Err(Error::NotFound),
            },
            Does::LetGo { id, deadline_ns } => match self.slot(id) {
                None => Err(Error::NotFound),
                Some(slot) if slot.retirer.is_some() => Err(Error::Busy),
                Some(slot) if slot.users == 0 => {
                    slot.free();
                    Ok(0)
                }
                Some(_) if deadline_ns == 0 => Err(Error::Busy),
                Some(_) => return None,
            },
            Does::Cancel { number } => self.cancel(ring, number).ok_or(Error::NotFound),
        })
    }

    /// Ends what waits under a number, if something does whose end has not come.
    fn cancel(&mut self, ring: usize, number: u64) -> Option<u64> {
        let is_meant = |place: &Option<Pending>| {
            place
                .as_ref()
                .is_some_and(|pending| pending.entry.number == number)
        };
        let place = self.desks[ring].pending.iter().position(is_meant)?;
        let does = self.desks[ring].pending[place].as_ref()?.entry.does;
        if let Does::LetGo { id, .. } = does {
            self.slot(id)?.retirer = None;
        }
        let pending = self.desks[ring].pending[place].take()?;
        if let Does::Use { id } = does {
            self.leave(id);
        }
        let desk = &mut self.desks[ring];
        desk.cancel_all(&[pending.entry]);
        desk.cancel_all(&pending.rest);
        Some(1)
    }

    /// Entries one after the other, until one fails or waits.
    fn run_chain(&mut self, ring: usize, mut chain: &[Entry]) {
        while let Some((&entry, rest)) = chain.split_first() {
            let Some(outcome) = self.start(ring, entry.does) else {
                let rest = rest.to_vec();
                let place = self.desks[ring].place(Pending { entry, rest });
                if let Does::LetGo { id, .. } = entry.does {
                    self.slot(id).expect("it is in use").retirer = Some((ring, place));
                }
                return;
            };
            let desk = &mut self.desks[ring];
            desk.done.push((entry.number, outcome));
            if outcome.is_err() {
                return desk.cancel_all(rest);
            }
            chain = rest;
        }
    }

    /// Looks at the next that is due: whether what it has retire is gone.
    fn look(&mut self, ring: usize) {
        let place = self.desks[ring].due.pop_front().expect("something is due");
        let pending = self.desks[ring].pending[place].as_ref();
        if let Some(Pending { entry, .. }) = pending
            && let Does::LetGo { id, .. } = entry.does
            && self.slot(id).is_none()
            && let Some(Pending { entry, rest }) = self.desks[ring].pending[place].take()
        {
            self.desks[ring].done.push((entry.number, Ok(0)));
            self.run_chain(ring, &rest);
        }
    }

    /// Looks at what is due, and then takes entries, of which a chain goes no further than the last.
    pub fn serve(&mut self, ring: usize, entries: &[Entry]) {
        for _ in 0..self.desks[ring].due.len() {
            self.look(ring);
        }
        for chain in entries.split_inclusive(|entry| !entry.linked) {
            self.run_chain(ring, chain);
        }
    }

    /// A ring is no more: what it has retire is as before, and then it uses nothing.
    pub fn end(&mut self, ring: usize) {
        let desk = std::mem::take(&mut self.desks[ring]);
        let does = || {
            desk.pending
                .iter()
                .flatten()
                .map(|pending| pending.entry.does)
        };
        for does in does() {
            if let Does::LetGo { id, .. } = does
                && let Some(slot) = self.slot(id)
            {
                slot.retirer = None;
            }
        }
        for does in does() {
            if let Does::Use { id } = does {
                self.leave(id);
            }
        }
    }

    /// Looks at everything that is due, ring by ring, as long as something is.
    pub fn settle(&mut self) {
        while let Some(ring) = self.desks.iter().position(|desk| !desk.due.is_empty()) {
            while !self.desks[ring].due.is_empty() {
                self.look(ring);
            }
        }
    }
}
