//! Which steps a seat of a hub can take.
#![cfg(not(loom))]

mod common;

use abi::hub::{PeerState, Standing};
use common::cases;
use proptest::prelude::*;
use ring::hub::{PeerEntry, reserve_first};

const STATES: [PeerState; 4] = [
    PeerState::Empty,
    PeerState::Reserved,
    PeerState::Attached,
    PeerState::Goodbye,
];

#[test]
fn a_seat_that_is_taken_is_passed_over() {
    let seats = STATES.map(PeerEntry::new);
    let (at, standing) = reserve_first(&seats).unwrap();
    assert_eq!((at, standing), (0, Standing::new(PeerState::Reserved, 0)));
    assert_eq!(reserve_first(&seats), None);
}

proptest! {
    #![proptest_config(cases(256, 8))]

    /// Whatever is asked of a seat, it goes round in its order, and the tenancy changes when it becomes empty and at no
    /// other time.
    #[test]
    fn a_seat_goes_round_in_its_order(steps in prop::collection::vec((0..4usize, 0..4usize, 0..3u32), 0..60)) {
        let seat = PeerEntry::new(PeerState::Empty);
        let mut now = Standing::new(PeerState::Empty, 0);
        for (from, to, behind) in steps {
            let from = Standing::new(STATES[from], now.epoch.wrapping_sub(behind));
            let to = STATES[to];
            let round = matches!(
                (from.state, to),
                (PeerState::Empty, PeerState::Reserved)
                    | (PeerState::Reserved, PeerState::Attached | PeerState::Goodbye | PeerState::Empty)
                    | (PeerState::Attached, PeerState::Goodbye)
                    | (PeerState::Goodbye, PeerState::Empty)
            );
            let allowed = round && from == now;
            let answer = seat.advance(from, to);
            prop_assert_eq!(answer.is_ok(), allowed);
            if allowed {
                now = Standing::new(to, now.epoch + u32::from(to == PeerState::Empty));
            }
            prop_assert_eq!(answer.unwrap_or_else(|stands| stands), now);
            prop_assert_eq!(seat.standing(), now);
        }
    }
}
