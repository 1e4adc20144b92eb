//! Every interleaving of those who change how seats of a hub stand.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p handover-ring --release --test loom_hub`
#![cfg(loom)]

use abi::hub::{PeerState, Standing};
use loom::sync::Arc;
use loom::thread;
use ring::hub::{PeerEntry, reserve_first};

const ATTACHED: Standing = Standing::new(PeerState::Attached, 0);

#[test]
fn those_who_join_at_once_get_a_seat_each() {
    loom::model(|| {
        let seats = Arc::new([(); 2].map(|()| PeerEntry::new(PeerState::Empty)));
        let join = |seats: Arc<[PeerEntry; 2]>| move || reserve_first(seats.iter());
        let other = thread::spawn(join(seats.clone()));
        let (mine, _) = join(seats)().expect("there is a seat for each");
        let (other, _) = other.join().unwrap().expect("there is a seat for each");
        assert_ne!(mine, other);
    });
}

#[test]
fn what_was_decided_of_a_guest_never_falls_on_the_next() {
    loom::model(|| {
        let seat = Arc::new(PeerEntry::new(PeerState::Attached));
        let late = {
            let seat = seat.clone();
            thread::spawn(move || seat.advance(ATTACHED, PeerState::Goodbye).is_ok())
        };
        let first = seat.advance(ATTACHED, PeerState::Goodbye).is_ok();
        let mut now = Standing::new(PeerState::Goodbye, 0);
        for next in [PeerState::Empty, PeerState::Reserved, PeerState::Attached] {
            now = seat.advance(now, next).expect("nobody else may change it");
        }
        assert_ne!(late.join().unwrap(), first, "one of them said goodbye");
        assert_eq!(seat.standing(), Standing::new(PeerState::Attached, 1));
    });
}
