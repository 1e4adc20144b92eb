//! Every interleaving of those who take slots of a pool and give them back.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p handover-ring --release --test loom_pool`
#![cfg(loom)]

use loom::sync::atomic::{AtomicU32, AtomicU64};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use ring::Error;
use ring::payload::{Class, Layout, Pool, Side, SlotRef, SlotWords};

#[derive(Clone)]
struct Words(Arc<Vec<AtomicU64>>, Arc<[AtomicU32; 2]>);

impl SlotWords for Words {
    fn word(&self, slot: u32) -> Option<&AtomicU64> {
        self.0.get(slot as usize)
    }

    fn waits(&self, side: Side) -> &AtomicU32 {
        &self.1[side as usize - 1]
    }

    fn write(&self, _: u64, _: &[u8]) -> Result<(), Error> {
        Ok(())
    }

    fn read(&self, _: u64, _: &mut [u8]) -> Result<(), Error> {
        Ok(())
    }
}

/// Both sides' views of a pool of so many slots.
fn pool(slots: u32) -> [Arc<Pool<Words>>; 2] {
    let slot_words = (0..slots).map(|_| AtomicU64::new(0)).collect();
    let words = Words(Arc::new(slot_words), Arc::default());
    let class = Class {
        slot_bytes: 64,
        count: slots,
    };
    let layout = Layout::new(&[class]).unwrap();
    [Side::Host, Side::Guest].map(|side| Arc::new(Pool::new(words.clone(), layout, side)))
}

#[test]
fn two_that_allocate_at_once_never_get_the_same_slot() {
    loom::model(|| {
        let [host, guest] = pool(2);
        let other = thread::spawn(move || guest.allocate(8).unwrap());
        let mine = host.allocate(8).unwrap();
        assert_ne!(mine.index, other.join().unwrap().index);
        assert_eq!(host.allocate(8), Err(Error::Full));
    });
}

#[test]
fn of_two_who_give_a_slot_back_exactly_one_is_told_that_it_was_given_back() {
    loom::model(|| {
        let [host, guest] = pool(1);
        let slot = guest.allocate(8).unwrap();
        let release = |host: Arc<Pool<Words>>, slot: SlotRef| move || host.release(slot);
        let other = thread::spawn(release(host.clone(), slot));
        let answers = [release(host.clone(), slot)(), other.join().unwrap()];
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
        // Nor does it fall on whoever has it next.
        let next = guest.allocate(8).unwrap();
        assert_eq!(host.release(slot), Err(Error::PeerFault));
        assert_eq!(host.check(next), Ok(()));
    });
}

#[test]
fn a_slot_is_at_no_instant_taken_and_nobodys() {
    loom::model(|| {
        let [host, guest] = pool(1);
        let look = thread::spawn({
            let host = host.clone();
            move || host.holder(0, 0)
        });
        guest.allocate(8).unwrap();
        let seen = look.join().unwrap();
        assert!(matches!(seen, Ok(None | Some(Side::Guest))), "{seen:?}");
        assert_eq!(host.holder(0, 0), Ok(Some(Side::Guest)));
    });
}

#[test]
fn what_is_allocated_while_a_side_is_reclaimed_is_either() {
    loom::model(|| {
        let [host, guest] = pool(2);
        let late = thread::spawn(move || guest.allocate(8).is_ok());
        let mine = host.allocate(8).unwrap();
        let reclaimed = host.reclaim(Side::Guest);
        assert!(late.join().unwrap());
        let left = host.reclaim(Side::Guest);
        assert_eq!(reclaimed + left, 1);
        assert_eq!(host.free_slots(), 1);
        assert_eq!(host.withdraw(mine), Ok(()));
    });
}

/// A ring with room for one message, and who sleeps at its end.
#[derive(Default)]
struct Messages {
    state: Mutex<State>,
    came: Condvar,
}

#[derive(Default)]
struct State {
    there: bool,
    asleep: bool,
    /// Nobody sends any more.
    over: bool,
    /// Who sleeps at a time when nobody sends any more was forgotten.
    forgotten: bool,
}

impl Messages {
    fn new(there: bool) -> Arc<Messages> {
        let messages = Messages::default();
        messages.state.lock().unwrap().there = there;
        Arc::new(messages)
    }

    /// What the ring has no room for is not sent.
    fn try_send(&self) {
        self.state.lock().unwrap().there = true;
        self.came.notify_all();
    }

    fn receive(&self) {
        let mut state = self.state.lock().unwrap();
        while !state.there && !state.over {
            state.asleep = true;
            state = self.came.wait(state).unwrap();
            state.asleep = false;
        }
        state.forgotten |= !state.there;
        state.there = false;
    }

    fn was_forgotten(&self) -> bool {
        self.state.lock().unwrap().forgotten
    }

    fn end(&self) {
        self.state.lock().unwrap().over = true;
        self.came.notify_all();
    }
}

/// The host waits for a slot that the guest gives back: one that the host has sent, or that the guest has taken and not sent.
/// There is a message in the ring that comes before, or none.
fn host_waits(holder: Side, message_before: bool) {
    let [host, guest] = pool(1);
    let messages = Messages::new(message_before);
    let taken = match holder {
        Side::Host => host.allocate(8).unwrap(),
        Side::Guest => guest.allocate(8).unwrap(),
    };
    let sends = messages.clone();
    let gives_back = thread::spawn(move || {
        match holder {
            Side::Host => guest.release(taken).unwrap(),
            Side::Guest => guest.withdraw(taken).unwrap(),
        }
        if guest.must_tell_peer(taken) {
            sends.try_send();
        }
        sends.end();
    });
    let slot = loop {
        if host.arm(8) {
            messages.receive();
            host.disarm();
        }
        match host.allocate(8) {
            Ok(slot) => break slot,
            Err(error) => assert_eq!(error, Error::Full),
        }
        assert!(!messages.was_forgotten(), "it was never told");
    };
    assert_eq!(host.withdraw(slot), Ok(()));
    gives_back.join().unwrap();
    assert!(!messages.was_forgotten(), "it was never told");
}

#[test]
fn who_waits_for_a_slot_is_told_of_the_one_that_is_given_back() {
    for message_before in [false, true] {
        loom::model(move || host_waits(Side::Host, message_before));
    }
}

#[test]
fn who_waits_for_a_slot_is_told_of_the_one_that_was_not_sent() {
    for message_before in [false, true] {
        loom::model(move || host_waits(Side::Guest, message_before));
    }
}
