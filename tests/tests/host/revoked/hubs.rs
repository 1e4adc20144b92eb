//! Hubs and their seats.

use abi::hub::PeerState;
use abi::{Error, HubSignal};

use super::deed::{Deed, Way};
use crate::common::revoked::HUB;

pub const DEEDS: &[Deed] = &[
    Deed::new(
        "reserve a seat",
        &["hub_reserve.hub"],
        Way::Revoked(HUB),
        |s| s.ipc().reserve_seat(s.me(), s.below[HUB]).map(drop),
        |s| s.has_more(1),
    ),
    Deed::new(
        "dismiss a guest",
        &["hub_dismiss.hub"],
        Way::Revoked(HUB),
        |s| {
            let seat = s.attached.seat;
            s.ipc()
                .dismiss_guest(s.me(), s.below[HUB], seat.peer, seat.epoch)
        },
        |s| s.stands(s.attached) == PeerState::Goodbye,
    ),
    Deed::new(
        "say goodbye",
        &["hub_dismiss.hub"],
        Way::Revoked(HUB),
        |s| s.ipc().dismiss_guest(s.me(), s.below[HUB], 0, 0),
        |s| {
            let info = s.ipc().hub_info(&s.realm.domains[0], s.hub.handle);
            info.unwrap().goodbye == 1
        },
    ),
    Deed::new(
        "recover a seat",
        &["hub_recover.hub"],
        Way::Revoked(HUB),
        |s| {
            let seat = s.gone.seat;
            s.ipc()
                .recover_seat(s.me(), s.below[HUB], seat.peer, seat.epoch)
        },
        |s| s.hub.connect(&s.realm, s.gone.seat) == Err(Error::NotFound),
    ),
    Deed::new(
        "connect to a guest",
        &["hub_connect.hub"],
        Way::Revoked(HUB),
        |s| {
            let (host, seat) = (&s.realm.domains[0], s.attached.seat);
            let connected = s.ipc().connect_guest(host, s.own, seat.peer, seat.epoch);
            connected.map(drop)
        },
        |s| s.has_more(0),
    ),
    Deed::new(
        "claim a seat",
        &["hub_claim.member"],
        Way::Moved(|s| s.reserved.member),
        |s| s.reserved.claim(&s.realm).map(drop),
        |s| s.stands(s.reserved) == PeerState::Attached,
    ),
    Deed::new(
        "leave a seat",
        &["hub_leave.member"],
        Way::Moved(|s| s.attached.member),
        |s| s.attached.leave(&s.realm),
        |s| s.stands(s.attached) == PeerState::Goodbye,
    ),
    Deed::new(
        "signal a host",
        &["hub_signal.member"],
        Way::Moved(|s| s.attached.member),
        |s| s.attached.signal(&s.realm, HubSignal::Work),
        // Two have joined, and one has left.
        |s| s.messages(s.hub.handle) > 3,
    ),
];
