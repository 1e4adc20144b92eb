//! The thread of the host that serves.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use core::sync::atomic::Ordering;

use fastrand::Rng;
use rt::hub::{Class, HubSeat, Link, Payloads, PeerState, Received, Standing};
use rt::{Error, FOREVER};

use super::{MESSAGE, Scene};
use crate::check::SOON_MS;

/// What a guest's pool grows by.
const CLASSES: [Class; 1] = [Class {
    slot_bytes: 256,
    count: 4,
}];

/// What the host has of a guest.
enum Partner {
    Linked(Box<(Link, Payloads)>),
    /// Nothing: it could not connect, or has given its link up, as the guest sees.
    Unlinked,
}

/// There is no hub any more.
struct Over;

struct Server<'a> {
    scene: &'a Scene,
    random: Rng,
    /// By peer, with the tenancy.
    partners: BTreeMap<u32, (u32, Partner)>,
}

/// Waits for guests and answers them until the hub is over, or nobody is left after a goodbye.
pub fn serve(scene: &Scene, random: Rng) {
    let mut server = Server {
        scene,
        random,
        partners: BTreeMap::new(),
    };
    while !server.is_done() {
        let told = match scene.host.wait(rt::in_ms(SOON_MS / 2)) {
            Ok(told) => told,
            Err(Error::BadHandle | Error::Revoked | Error::PeerClosed | Error::Cancelled) => return,
            // If it slept already and nobody was there, it was not told of the goodbye.
            Err(Error::TimedOut) if server.is_done() => return,
            Err(error) => done!(Err(error), "waiting for guests"),
        };
        for peer in told.iter() {
            if let Err(Over) = server.look(peer) {
                return;
            }
        }
    }
}

impl Server<'_> {
    /// Whether the host has said goodbye and every seat is empty.
    fn is_done(&self) -> bool {
        if !self.scene.leaving.load(Ordering::Acquire) {
            return false;
        }
        let info = done!(self.scene.host.info(), "facts");
        info.goodbye == 1 && info.reserved + info.attached + info.leaving == 0
    }

    fn look(&mut self, peer: u32) -> Result<(), Over> {
        let standing = done!(self.scene.host.standing(peer), "guest {peer}");
        let Standing { state, epoch } = standing;
        if state == PeerState::Empty {
            return Ok(());
        }
        let seat = HubSeat { peer, epoch };
        let mut partner = match self.partners.remove(&peer) {
            Some((known, partner)) if known == epoch => partner,
            _ => self.meet(seat, state)?,
        };
        if let Partner::Linked(linked) = &mut partner {
            let (link, payloads) = &mut **linked;
            answer(link, payloads, &mut self.random);
        }
        if state == PeerState::Goodbye {
            return self.recover(seat, partner);
        }
        if self.random.u8(..16) == 0 {
            partner = Partner::Unlinked;
        }
        self.partners.insert(peer, (epoch, partner));
        Ok(())
    }

    /// Connects to a guest and mostly gives it a pool.
    fn meet(&mut self, seat: HubSeat, state: PeerState) -> Result<Partner, Over> {
        let host = &self.scene.host;
        if self.random.u8(..8) == 0 {
            self.judge(host.dismiss(seat), "dismissing")?;
            return Ok(Partner::Unlinked);
        }
        let mut link = match host.connect(seat.peer, seat.epoch) {
            Ok(link) => link,
            Err(error) => {
                self.judge(Err(error), "connecting")?;
                return Ok(Partner::Unlinked);
            }
        };
        let mut payloads = Payloads::of_host(link.via(), MESSAGE);
        if state == PeerState::Attached && self.random.bool() {
            let sender = &mut link.sender;
            // It may be gone meanwhile.
            let _ = payloads.grow(&CLASSES, &mut |message, _| sender.try_send(message));
        }
        Ok(Partner::Linked(Box::new((link, payloads))))
    }

    /// Makes the seat of a guest that is gone empty.
    fn recover(&mut self, seat: HubSeat, partner: Partner) -> Result<(), Over> {
        let host = &self.scene.host;
        let recovered = match partner {
            Partner::Linked(linked) => {
                let (link, payloads) = *linked;
                let recovered = host.recover_payloads(link, payloads, |_, _| {});
                recovered.map(drop).map_err(Error::from)
            }
            Partner::Unlinked => host.recover_seat(seat),
        };
        self.judge(recovered, "recovering")
    }

    /// What the host is refused is refused since there is no hub any more.
    fn judge(&self, answer: Result<(), Error>, what: &str) -> Result<(), Over> {
        if let Err(error) = answer {
            check!(self.scene.host.info().is_err(), "{what} a guest: {error}");
            return Err(Over);
        }
        Ok(())
    }
}

/// Sends back what a guest has sent.
fn answer(link: &mut Link, payloads: &mut Payloads, random: &mut Rng) {
    let mut message = [0; MESSAGE];
    while let Some(len) = done!(link.receive(&mut message), "receiving") {
        let received = payloads.receive(&message[..len]);
        let Some(received) = done!(received, "what guest {} sent", link.seat.peer) else {
            continue;
        };
        let sender = &mut link.sender;
        // It may be gone meanwhile.
        let _ = echo(payloads, received, &mut |message, patience| {
            sender.send(message, patience.until(FOREVER))
        });
        if random.u8(..4) == 0 {
            super::pause(random, super::SHORT);
        }
    }
}

/// Answers a payload with the same.
fn echo(payloads: &mut Payloads, received: Received, send: rt::hub::Send<'_>) -> Result<(), Error> {
    let mut bytes = vec![0; received.len() as usize];
    payloads.read(&received, 0, &mut bytes)?;
    let tag = received.tag;
    payloads.finish(received, send)?;
    payloads.send(tag, &bytes, send)
}
