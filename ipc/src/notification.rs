//! Notifications: bits that are set and waited for.
//!
//! A signal never waits. If somebody does, it gets the bits at once and wakes; if not, they stay until
//! somebody takes them. Bits that are set twice before they are taken are set once.
//!
//! Invariants kept here (docs/INVARIANTS.md): I5, I10. Lock rank: Queue.

use abi::limits::NOTIFICATION_BITS;
use abi::{Error, Handle, ObjectKind, Rights};
use mm::lock::{Lock, Rank};

use crate::{Counted, Domain, Events, Ipc, Node, Payload, Platform, Ticket, Traffic, Waiters};

/// A set of bits, and who waits for one of them.
#[derive(Debug)]
pub struct Notification<P: Platform> {
    state: Lock<State<P>>,
    events: Events<P>,
}

#[derive(Debug)]
struct State<P: Platform> {
    /// Never set while there is somebody to take them.
    bits: u64,
    waiters: Waiters<P>,
    messages: u64,
}

impl<P: Platform> Notification<P> {
    /// One without bits.
    pub(crate) fn new() -> Notification<P> {
        Notification {
            state: Lock::new(
                Rank::Queue,
                State {
                    bits: 0,
                    waiters: Waiters::new(),
                    messages: 0,
                },
            ),
            events: Events::new(),
        }
    }

    pub(crate) fn events(&self) -> &Events<P> {
        &self.events
    }

    /// Which events hold.
    pub(crate) fn level(&self) -> abi::Events {
        match self.state.lock().bits {
            0 => abi::Events::empty(),
            _ => abi::Events::SIGNALED,
        }
    }

    pub(crate) fn traffic(&self) -> Traffic {
        let state = self.state.lock();
        Traffic {
            messages: state.messages,
            ..state.waiters.traffic()
        }
    }

    /// Sets bits by a capability of a domain, and returns who is to be unparked. Why it can't any more: nothing
    /// is set.
    #[inline(always)]
    fn set(&self, node: &Node<P>, holder: u64, bits: u64) -> Result<Option<P::Task>, Error> {
        let mut state = self.state.lock();
        // A revoke or reduce that has returned has had this lock after it marked its nodes.
        node.check_allowed(holder, Rights::SIGNAL)?;
        Ok(state.set(bits))
    }
}

impl<P: Platform> State<P> {
    /// Sets bits, or gives them to the first who waits, who is then to be unparked.
    #[inline(always)]
    fn set(&mut self, bits: u64) -> Option<P::Task> {
        self.messages += 1;
        let woken = if self.waiters.is_empty() {
            None
        } else {
            self.waiters.wake_first_with([self.bits | bits])
        };
        match woken {
            Some(_) => self.bits = 0,
            None => self.bits |= bits,
        }
        woken
    }
}

/// Whom a signal is told to, after unlocking.
enum Told<P: Platform> {
    /// Nobody: the bits are set.
    Nobody,
    /// Who waited, and has the bits.
    Waiter(P::Task),
    /// Who waits for the event.
    Watchers(Node<P>),
}

/// What somebody who waits finds.
enum Found<P: Platform> {
    /// The bits, which are taken.
    Bits(u64),
    /// Nothing: it is in the list.
    Nothing(Ticket<P>, Node<P>),
}

/// The bits that a signal by a capability sets which asks for `bits`: those of its badge, if it has one.
/// `Invalid`: no bit, or one beyond the 63; any, with a badge.
#[inline(always)]
pub(crate) fn signal_bits<P: Platform>(node: &Node<P>, bits: u64) -> Result<u64, Error> {
    let set = match node.badge() {
        0 => bits,
        badge if bits == 0 => badge,
        _ => return Err(Error::Invalid),
    };
    if set == 0 || set & !NOTIFICATION_BITS != 0 {
        return Err(Error::Invalid);
    }
    Ok(set)
}

impl<P: Platform> Ipc<P> {
    /// A notification, of which `domain` gets the first capability. Errors as of
    /// [`install_object`](Ipc::install_object).
    pub fn create_notification(&self, domain: &Domain<P>) -> Result<Handle, Error> {
        let payload = Payload::Notification(Notification::new());
        self.install_object(domain, payload, Rights::NOTIFICATION)
    }

    /// Sets bits of a notification and wakes who waits, with SIGNAL.
    ///
    /// # Errors
    /// `Invalid`: no bit, one beyond the 63 that there are, or any through a capability with a badge,
    /// which are the badge's; those of a look-up.
    pub fn signal(&self, domain: &Domain<P>, handle: Handle, bits: u64) -> Result<(), Error> {
        let kind = Some(ObjectKind::Notification);
        let told = domain.with_node(handle, kind, Rights::SIGNAL, |node| {
            let Payload::Notification(notification) = node.object().payload() else {
                return Err(Error::WrongKind);
            };
            let bits = signal_bits(node, bits)?;
            match notification.set(node, domain.koid(), bits)? {
                Some(task) => Ok(Told::Waiter(task)),
                None if notification.events.is_awaited(abi::Events::SIGNALED) => {
                    Ok(Told::Watchers(node.clone()))
                }
                None => Ok(Told::Nobody),
            }
        })?;
        self.platform().count(Counted::Message { bytes: 0 });
        match told {
            Told::Nobody => {}
            Told::Waiter(task) => self.platform().unpark(&task),
            Told::Watchers(node) => {
                if let Payload::Notification(notification) = node.object().payload() {
                    self.fire(&notification.events, abi::Events::SIGNALED, 0);
                }
            }
        }
        Ok(())
    }

    /// Sets bits in the name of a domain that has a capability of the notification. With no lock of rank
    /// Queue or above.
    ///
    /// # Errors
    /// Why it does not have it any more, or `Denied`: it lacks SIGNAL by now.
    #[inline(always)]
    pub(crate) fn signal_as(
        &self,
        notification: &Notification<P>,
        node: &Node<P>,
        holder: u64,
        bits: u64,
    ) -> Result<(), Error> {
        let woken = notification.set(node, holder, bits)?;
        self.signalled(notification, woken);
        Ok(())
    }

    /// Sets bits of a notification, from within the kernel. With no lock of rank Queue or above.
    pub fn set_bits(&self, notification: &Notification<P>, bits: u64) {
        let woken = notification.state.lock().set(bits);
        self.signalled(notification, woken);
    }

    #[inline(always)]
    fn signalled(&self, notification: &Notification<P>, woken: Option<P::Task>) {
        self.platform().count(Counted::Message { bytes: 0 });
        match woken {
            Some(task) => self.platform().unpark(&task),
            None => self.fire(&notification.events, abi::Events::SIGNALED, 0),
        }
    }

    /// Waits until a bit of a notification is set, and takes all that are; with WAIT.
    ///
    /// # Errors
    /// `WouldBlock`: none is, and the deadline is 0; those of a look-up and of [`sleep`](Ipc::sleep).
    pub fn wait_notification(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        deadline_ns: u64,
    ) -> Result<u64, Error> {
        let kind = Some(ObjectKind::Notification);
        let (ticket, node) = {
            let found = domain.with_node(handle, kind, Rights::WAIT, |node| {
                let Payload::Notification(notification) = node.object().payload() else {
                    return Err(Error::WrongKind);
                };
                let mut state = notification.state.lock();
                // As for who sets bits; that there are none is told, too. Who enlists is looked at there.
                let tells = deadline_ns == 0 && !mm::sabotaged!("nothing_there_without_recheck");
                if state.bits != 0 || tells {
                    node.check_allowed(domain.koid(), Rights::WAIT)?;
                }
                if state.bits != 0 {
                    return Ok(Found::Bits(core::mem::take(&mut state.bits)));
                }
                if deadline_ns == 0 {
                    return Err(Error::WouldBlock);
                }
                let task = self.platform().current_task();
                let ticket = state
                    .waiters
                    .enlist(task, node, domain.koid(), Rights::WAIT)?;
                Ok(Found::Nothing(ticket, node.clone()))
            })?;
            match found {
                Found::Bits(bits) => return Ok(bits),
                Found::Nothing(ticket, node) => (ticket, node),
            }
        };
        let Payload::Notification(notification) = node.object().payload() else {
            return Err(Error::WrongKind);
        };
        self.sleep_in(&ticket, deadline_ns, &notification.state, |state| {
            &mut state.waiters
        })?;
        Ok(ticket.words()[0])
    }

    /// Ends the waits at a notification whose capability is not their process's any more.
    pub(crate) fn end_notification_waits(&self, notification: &Notification<P>) {
        self.end_unheld_waits(&notification.state, |state| &mut state.waiters);
    }
}
