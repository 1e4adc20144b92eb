//! How the host sleeps, once for all its guests.
//!
//! It is the wake protocol of a ring with one word for all rings: the host says in the table that it
//! sleeps, and then looks at every ring; a guest publishes, and then looks whether the host sleeps. Both
//! have a full fence in between, so one sees the other. Guests enter the kernel for that as long as a thread of
//! the host sleeps here, whether or not another one is awake. A host that looks in vain and does not sleep here may be
//! about to wait for the hub at a port: then they do until there is something to look at.

use abi::hub::PeerState;
use abi::ring::End;
use abi::{Error, Events, Handle, HubPeers, Rights};

use core::sync::atomic::Ordering;

use super::{Hub, State, WORDS};
use crate::sync::fence;
use crate::{Capability, Domain, Ipc, Payload, Platform};

impl<P: Platform> Ipc<P> {
    /// Waits until the host has a guest to look at, and takes which; with WAIT.
    ///
    /// # Errors
    /// `PeerClosed`: the hub is over; `WouldBlock`: no guest, and the deadline is 0; those of a look-up and of
    /// [`sleep`](Ipc::sleep).
    pub fn wait_hub(
        &self,
        domain: &Domain<P>,
        handle: Handle,
        deadline_ns: u64,
    ) -> Result<HubPeers, Error> {
        let (capability, hub) = self.hub(domain, handle, Rights::WAIT)?;
        let waited = self.wait_for_guests(domain, &capability, &hub, deadline_ns);
        if waited.is_err() && !mm::sabotaged!("hub_asleep_after_wait") {
            // However it has ended, nobody is to be woken from it any more.
            let mut state = hub.state.lock();
            let for_others = state.is_watched || !state.waiters.is_empty();
            self.set_asleep(&hub, &mut state, for_others);
        }
        waited
    }

    fn wait_for_guests(
        &self,
        domain: &Domain<P>,
        capability: &Capability<P>,
        hub: &Hub<P>,
        deadline_ns: u64,
    ) -> Result<HubPeers, Error> {
        loop {
            let ticket = {
                let mut state = hub.state.lock();
                if let Err(error) = capability.node.check_allowed(domain.koid(), Rights::WAIT) {
                    // It may have been woken for what is another's to look at now.
                    let woken = match mm::sabotaged!("hub_wake_not_passed_on") {
                        true => None,
                        false => state.wake(),
                    };
                    drop(state);
                    woken.iter().for_each(|task| self.platform().unpark(task));
                    return Err(error);
                }
                if state.table.is_none() {
                    return Err(Error::PeerClosed);
                }
                if state.waiting == [0; WORDS] {
                    self.set_asleep(hub, &mut state, true);
                    // SYNC(hub.sleep): a guest that published before this fence is seen below; one that
                    // did after it finds that the host sleeps.
                    if !mm::sabotaged!("hub_sleeps_without_fence") {
                        fence(Ordering::SeqCst);
                    }
                    self.look_at_rings(hub, &mut state);
                }
                if state.waiting != [0; WORDS] {
                    self.set_awake(hub, &mut state);
                    let bits = core::mem::replace(&mut state.waiting, [0; WORDS]);
                    return Ok(HubPeers { bits });
                }
                if deadline_ns == 0 {
                    state.is_watched = true;
                    return Err(Error::WouldBlock);
                }
                let task = self.platform().current_task();
                let holder = domain.koid();
                state
                    .waiters
                    .enlist(task, &capability.node, holder, Rights::WAIT)?
            };
            self.sleep_in(&ticket, deadline_ns, &hub.state, |state| &mut state.waiters)?;
        }
    }

    /// Notes every guest that has sent something.
    fn look_at_rings(&self, hub: &Hub<P>, state: &mut State<P>) {
        if mm::sabotaged!("hub_sleeps_without_look") {
            return;
        }
        for (peer, entry) in hub.entries.iter().enumerate().skip(1) {
            if entry.standing().state != PeerState::Attached {
                continue;
            }
            let Some(Some(seat)) = state.seats.get(peer) else {
                continue;
            };
            let [_, consumer] = &seat.host_ends;
            if let Payload::RingEnd(ring, End::Consumer) = consumer.object().payload()
                && self
                    .ring_level(ring, End::Consumer)
                    .contains(Events::READABLE)
            {
                state.waiting[peer / 64] |= 1 << (peer % 64);
            }
        }
    }
}
