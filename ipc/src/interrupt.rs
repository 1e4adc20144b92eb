//! Interrupts of devices: bits of a notification that are set when a device asks for it.
//!
//! A device interrupts by writing a word to an address (a message-signalled interrupt, PCI Local Bus
//! Specification 3.0, 6.8). The embedder has lines for that, each with its address and word,
//! and tells when one was written to. However often that is, all that follows is bits that are set already.
//!
//! Lock ranks: Timers, as for a timer, then those of a notification.

use core::fmt;

use abi::{Error, Handle, InterruptInfo, Rights};
use mm::CpuId;
use mm::lock::{Lock, Rank};

use crate::bell::Bell;
use crate::object::PAYLOAD_BYTES;
use crate::{Counted, Domain, Ipc, Payload, Platform, Traffic};

/// A way by which a device interrupts a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The CPU.
    pub cpu: CpuId,
    /// Which of its lines.
    pub number: u8,
    /// What the device has to write, and where.
    pub message: InterruptInfo,
}

/// Sets bits of a notification when a device interrupts.
pub struct Interrupt<P: Platform> {
    line: Line,
    state: Lock<State<P>>,
}

struct State<P: Platform> {
    /// Until it ends.
    bell: Option<Bell<P>>,
    messages: u64,
}

impl<P: Platform> Interrupt<P> {
    /// Its line.
    pub fn line(&self) -> Line {
        self.line
    }

    /// How often it has been told.
    pub(crate) fn traffic(&self) -> Traffic {
        Traffic {
            messages: self.state.lock().messages,
            ..Traffic::NONE
        }
    }
}

impl<P: Platform> fmt::Debug for Interrupt<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupt")
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

impl<P: Platform> Ipc<P> {
    /// Has bits of a notification set at each message that a device sends, in the name of the domain and as
    /// long as that has this capability of it. Needs MANAGE on some resource: who may program no device has no
    /// use for a line. Returns what the device has to write.
    ///
    /// # Errors
    /// Those of a look-up of the resource, and of the notification with SIGNAL; `Invalid`: as for a
    /// signal; `Limit`: the CPU has no line left; `Quota`, `NoMemory`.
    pub fn create_interrupt(
        &self,
        domain: &Domain<P>,
        resource: Handle,
        notification: Handle,
        bits: u64,
    ) -> Result<(Handle, InterruptInfo), Error> {
        let (by, _) = self.resource(domain, resource, Rights::MANAGE)?;
        let (rings_by, bell) = Bell::new(domain, notification, bits)?;
        let line = self.platform().reserve_line();
        let line = line.map_err(|error| by.refuse(error))?;
        let interrupt = mm::shared(Interrupt {
            line,
            state: Lock::new(
                Rank::Timers,
                State {
                    bell: Some(bell),
                    messages: 0,
                },
            ),
        });
        const {
            assert!(size_of::<Interrupt<P>>() + 16 <= PAYLOAD_BYTES);
        }
        let early = mm::sabotaged!("line_connected_before_it_is_sure");
        if early {
            self.platform().connect_line(&interrupt);
        }
        let payload = Payload::Interrupt(interrupt.clone());
        // At this moment both are there; from now on the bell looks for itself at each message.
        let connect = || {
            if !mm::sabotaged!("bell_without_recheck") {
                rings_by.check()?;
            }
            // Of a line that is connected a device may learn. What is refused has none to rest.
            if !early {
                self.platform().connect_line(&interrupt);
            }
            Ok(())
        };
        let handle = self.install_with(&by, domain, payload, Rights::INTERRUPT, connect)?;
        Ok((handle, line.message))
    }

    /// Says that a device has written to the line of an interrupt, once or many times. For the
    /// embedder, not in an interrupt handler.
    pub fn interrupted(&self, interrupt: &Interrupt<P>) {
        let mut state = interrupt.state.lock();
        let rung = state.bell.as_ref().map(|bell| self.ring(bell));
        let dead = match rung {
            Some(Err(_)) => state.bell.take(),
            _ => None,
        };
        state.messages += 1;
        self.platform().count(Counted::Message { bytes: 0 });
        drop(state);
        drop(dead);
    }

    /// No bit is set any more when this returns, and the line is given back.
    pub(crate) fn end_interrupt(&self, interrupt: &Interrupt<P>) {
        if !mm::sabotaged!("interrupt_outlives_its_object") {
            let bell = interrupt.state.lock().bell.take();
            drop(bell);
        }
        self.platform().release_line(interrupt.line);
    }
}
