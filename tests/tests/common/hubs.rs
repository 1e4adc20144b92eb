//! Hubs of a realm: domain 0 is the host.

use abi::hub::{BEATS_OFFSET, PeerState, Standing};
use abi::ring::PRODUCER_OFFSET;
use abi::{
    Error, FOREVER, GrantFlags, Handle, HubGeometry, HubGuestEnds, HubHandles, HubPeers, HubSeat,
    HubSignal, Mode, Rights, RingEnds, Syscall, Token,
};
use fake::answered;

use super::READ;
use super::realm::Realm;

/// Rings of 8 slots.
pub fn geometry(guests: u32) -> HubGeometry {
    HubGeometry::slot(guests, 64, 8, 8)
}

/// A hub whose host is domain 0.
#[derive(Clone, Copy)]
pub struct Hub {
    pub handle: Handle,
    /// Where the host has the table.
    pub table: u64,
}

/// A guest: who it is, and its membership.
#[derive(Clone, Copy, Debug)]
pub struct Guest {
    pub domain: usize,
    pub member: Handle,
    pub seat: HubSeat,
}

impl Hub {
    pub fn new(realm: &Realm, guests: u32) -> Hub {
        Hub::of(realm, geometry(guests))
    }

    pub fn of(realm: &Realm, geometry: HubGeometry) -> Hub {
        let created = realm.ipc.create_hub(&realm.domains[0], geometry);
        let HubHandles { hub, table } = created.unwrap();
        Hub {
            handle: hub,
            table: realm.map(0, table, READ),
        }
    }

    /// A seat for a domain, by a capability that the host hands it.
    pub fn reserve(&self, realm: &Realm, domain: usize) -> Result<Guest, Error> {
        let reserved = realm.ipc.reserve_seat(&realm.domains[0], self.handle);
        let (member, seat) = answered(Syscall::HubReserve, reserved)?;
        let member = match domain {
            0 => member,
            other => realm.give(0, member, other, Mode::Move),
        };
        Ok(Guest {
            domain,
            member,
            seat,
        })
    }

    /// A guest that is attached.
    pub fn join(&self, realm: &Realm, domain: usize) -> (Guest, HubGuestEnds) {
        let guest = self.reserve(realm, domain).unwrap();
        let ends = guest.claim(realm).unwrap();
        (guest, ends)
    }

    pub fn connect(&self, realm: &Realm, seat: HubSeat) -> Result<(Handle, RingEnds), Error> {
        let HubSeat { peer, epoch } = seat;
        let answer = realm
            .ipc
            .connect_guest(&realm.domains[0], self.handle, peer, epoch);
        answered(Syscall::HubConnect, answer)
    }

    pub fn dismiss(&self, realm: &Realm, seat: HubSeat) -> Result<(), Error> {
        let HubSeat { peer, epoch } = seat;
        let answer = realm
            .ipc
            .dismiss_guest(&realm.domains[0], self.handle, peer, epoch);
        answered(Syscall::HubDismiss, answer)
    }

    pub fn recover(&self, realm: &Realm, seat: HubSeat) -> Result<(), Error> {
        let HubSeat { peer, epoch } = seat;
        let answer = realm
            .ipc
            .recover_seat(&realm.domains[0], self.handle, peer, epoch);
        answered(Syscall::HubRecover, answer)
    }

    pub fn goodbye(&self, realm: &Realm) {
        let host = HubSeat { peer: 0, epoch: 0 };
        self.dismiss(realm, host).unwrap();
    }

    pub fn wait(&self, realm: &Realm, deadline: u64) -> Result<HubPeers, Error> {
        let answer = realm.ipc.wait_hub(&realm.domains[0], self.handle, deadline);
        answered(Syscall::HubWait, answer)
    }

    /// Which guests the host is told of now.
    pub fn told(&self, realm: &Realm) -> Vec<u32> {
        match self.wait(realm, 0) {
            Ok(peers) => peers.iter().collect(),
            Err(error) => {
                assert_eq!(error, Error::WouldBlock);
                Vec::new()
            }
        }
    }

    /// A word of the table, as the host sees it.
    pub fn word(&self, realm: &Realm, peer: u32) -> u64 {
        let at = self.table + u64::from(peer) * 8;
        realm.load(0, 0, at).unwrap()
    }

    pub fn beat(&self, realm: &Realm, peer: u32) -> u64 {
        let at = self.table + BEATS_OFFSET as u64 + u64::from(peer) * 8;
        realm.load(0, 0, at).unwrap()
    }

    pub fn standing(&self, realm: &Realm, peer: u32) -> (PeerState, u32) {
        let Standing { state, epoch } = Standing::from_word(self.word(realm, peer)).unwrap();
        (state, epoch)
    }
}

impl Guest {
    pub fn claim(&self, realm: &Realm) -> Result<HubGuestEnds, Error> {
        self.claim_in(realm, self.seat.epoch)
    }

    pub fn claim_in(&self, realm: &Realm, epoch: u32) -> Result<HubGuestEnds, Error> {
        let domain = &realm.domains[self.domain];
        let answer = realm.ipc.claim_seat(domain, self.member, epoch);
        answered(Syscall::HubClaim, answer)
    }

    pub fn leave(&self, realm: &Realm) -> Result<(), Error> {
        let domain = &realm.domains[self.domain];
        let answer = realm.ipc.leave_seat(domain, self.member);
        answered(Syscall::HubLeave, answer)
    }

    pub fn signal(&self, realm: &Realm, signal: HubSignal) -> Result<(), Error> {
        let domain = &realm.domains[self.domain];
        let answer = realm.ipc.signal_host(domain, self.member, signal);
        answered(Syscall::HubSignal, answer)
    }
}

/// Publishes so many messages, as far as the kernel can see.
pub fn publish(realm: &Realm, domain: usize, producer: Handle, messages: u64) -> u64 {
    let view = realm
        .ipc
        .map_ring(&realm.domains[domain], producer)
        .unwrap();
    let tail = view + PRODUCER_OFFSET as u64;
    realm.store(domain, domain, tail, messages).unwrap();
    view
}

/// Shares something over a handle.
pub fn share(realm: &Realm, domain: usize, via: Handle, handle: Handle) -> Result<Token, Error> {
    let (mode, rights, flags) = (Mode::Share, Rights::all(), GrantFlags::empty());
    let answer = realm.ipc.grant(
        &realm.domains[domain],
        handle,
        via,
        mode,
        rights,
        flags,
        FOREVER,
    );
    answered(Syscall::Grant, answer)
}

pub fn accept(realm: &Realm, domain: usize, via: Handle, token: Token) -> Result<Handle, Error> {
    let answer = realm.ipc.accept(&realm.domains[domain], token, via);
    answered(Syscall::Accept, answer)
}
