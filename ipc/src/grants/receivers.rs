//! Who can be granted something: every domain from its beginning until it ends.

use alloc::vec::Vec;

use abi::limits::MAX_PROCESSES;

use super::lists::{First, NONE};

/// Somebody who can be granted something; nobody, while its domain is 0.
struct Receiver {
    domain: u64,
    /// It ends.
    closed: bool,
    grants: First,
}

/// All of them. Under the lock of the grants.
pub(super) struct Receivers {
    /// Each stays at its place.
    places: Vec<Receiver>,
    /// Their domains in ascending order, and their places.
    by_domain: Vec<(u64, u32)>,
}

impl Receivers {
    pub(super) const fn new() -> Receivers {
        Receivers {
            places: Vec::new(),
            by_domain: Vec::new(),
        }
    }

    /// One more.
    pub(super) fn add(&mut self, domain: u64) {
        if self.places.is_empty() {
            // At once, so that what a process leaves is as it was before.
            self.places.reserve(MAX_PROCESSES);
            self.by_domain.reserve(MAX_PROCESSES);
        }
        let receiver = Receiver {
            domain,
            closed: false,
            grants: First::new(),
        };
        let empty = self.places.iter().position(|other| other.domain == 0);
        let place = match empty {
            Some(place) => {
                self.places[place] = receiver;
                place
            }
            None => {
                self.places.push(receiver);
                self.places.len() - 1
            }
        };
        // Numbers ascend, so this is mostly the end.
        let order = self.by_domain.partition_point(|(other, _)| *other < domain);
        self.by_domain.insert(order, (domain, place as u32));
    }

    /// Where a domain is, and in their order.
    #[inline(always)]
    fn find(&self, domain: u64) -> Option<(u32, usize)> {
        let order = self
            .by_domain
            .binary_search_by_key(&domain, |(other, _)| *other);
        let order = order.ok()?;
        Some((self.by_domain[order].1, order))
    }

    /// Where a domain is.
    #[inline(always)]
    pub(super) fn place_of(&self, domain: u64) -> Option<u32> {
        self.find(domain).map(|(place, _)| place)
    }

    /// Whether a domain that was found at a place is still there and does not end.
    #[inline(always)]
    pub(super) fn is_open(&self, place: u32, domain: u64) -> bool {
        let receiver = self.places.get(place as usize);
        receiver.is_some_and(|receiver| receiver.domain == domain && !receiver.closed)
    }

    /// The list of the grants to whoever is at a place.
    #[inline(always)]
    pub(super) fn grants(&self, place: u32) -> Option<&First> {
        Some(&self.places.get(place as usize)?.grants)
    }

    /// Lets nothing more be granted to a domain that ends. A grant to it that is still pending; with the last
    /// one it is forgotten.
    pub(super) fn close(&mut self, domain: u64) -> Option<u32> {
        let (place, order) = self.find(domain)?;
        let receiver = self.places.get_mut(place as usize)?;
        receiver.closed = true;
        let first = receiver.grants.get();
        if first == NONE {
            receiver.domain = 0;
            self.by_domain.remove(order);
            return None;
        }
        Some(first)
    }
}
