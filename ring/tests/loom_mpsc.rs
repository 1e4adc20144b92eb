//! Every interleaving, up to a bound on preemptions, of producers of one receiver, and of the bell at which it sleeps.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p handover-ring --release --test loom_mpsc`
#![cfg(loom)]

mod loom_kernel;

use abi::ring::{End, EndState, Geometry};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use loom_kernel::{FOREVER, bytes, explore};
use ring::memory::Owner;
use ring::mpsc::{Next, Receiver};
use ring::slot::{Consumer, Producer, Slot};
use ring::{Error, Gather, Wait};

/// Where the receiver sleeps, and an eye on one that was forgotten.
#[derive(Default)]
struct Bell {
    state: Mutex<State>,
    woken: Condvar,
}

#[derive(Default)]
struct State {
    rung: bool,
    asleep: bool,
    /// Rings whose producers do nothing more.
    rest: Vec<Owner>,
    lost_wakeups: u32,
}

impl Bell {
    /// A receiver that sleeps beside what nobody will tell it of any more was forgotten. It is counted and woken.
    fn look(&self, state: &mut State) {
        let is_there = |ring: &Owner| ring.index(End::Producer) != ring.index(End::Consumer);
        if state.asleep && !state.rung && state.rest.iter().any(is_there) {
            state.lost_wakeups += 1;
            state.rung = true;
            self.woken.notify_all();
        }
    }

    fn ring(&self) {
        self.state.lock().unwrap().rung = true;
        self.woken.notify_all();
    }

    /// The producer of a ring does nothing more.
    fn rests(&self, ring: &Owner) {
        let mut state = self.state.lock().unwrap();
        state.rest.push(ring.clone());
        self.look(&mut state);
    }

    fn assert_no_wakeup_was_lost(&self) {
        assert_eq!(
            self.state.lock().unwrap().lost_wakeups,
            0,
            "wakeups were lost"
        );
    }
}

impl Gather for Bell {
    fn wait(&self, _deadline_ns: u64) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap();
        state.asleep = true;
        self.look(&mut state);
        while !state.rung {
            state = self.woken.wait(state).unwrap();
        }
        (state.rung, state.asleep) = (false, false);
        Ok(())
    }
}

/// How a producer wakes the receiver, and how the end of a producer is told.
struct Rings {
    bell: Arc<Bell>,
    owner: Owner,
}

impl Rings {
    fn end(&self, state: EndState) {
        self.owner.set_state(End::Producer, state);
        self.bell.ring();
    }
}

impl Wait for Rings {
    fn wait(&self, _seen: u32, _deadline_ns: u64) -> Result<(), Error> {
        Err(Error::Unsupported)
    }

    fn wake(&self) {
        self.bell.ring();
    }
}

/// A ring of one slot, both of whose ends go to the bell, and what its owner does.
fn ring(bell: &Arc<Bell>) -> (Producer<Rings>, Consumer<Rings>, Rings) {
    let owner = Owner::model(Geometry::slot(64, 1), u32::MAX, 1);
    let rings = || Rings {
        bell: bell.clone(),
        owner: owner.clone(),
    };
    let producer = Producer::attach(owner.producer(), rings()).unwrap();
    let consumer = Consumer::attach(owner.consumer(), rings()).unwrap();
    (producer, consumer, rings())
}

/// What is received next: from where, and the number of the message or how it ended. Woken for nothing is no answer.
fn next<P: AsMut<[Option<Consumer<Rings>>]>>(
    receiver: &mut Receiver<Slot, Rings, P, &Bell>,
) -> (usize, Result<u64, Error>) {
    loop {
        match receiver.next(FOREVER) {
            Ok(Next::Ready { place, consumer }) => {
                let mut target = [0; 8];
                assert_eq!(consumer.try_receive(&mut target), Ok(8));
                let number = (0..4).find(|number| bytes(*number) == target);
                return (place, Ok(number.expect("a message that was sent")));
            }
            Ok(Next::Ended { place, why, .. }) => return (place, Err(why)),
            Err(error) => assert_eq!(error, Error::Empty),
        }
    }
}

#[test]
fn the_message_of_whichever_producer_wakes_the_receiver() {
    explore(2, || {
        let bell = Arc::new(Bell::default());
        let (mut one, from_one, ones) = ring(&bell);
        let (mut other, from_other, others) = ring(&bell);
        let places = [Some(from_one), Some(from_other)];
        let mut receiver = Receiver::new(places, &*bell).unwrap();
        let senders = [
            thread::spawn(move || {
                one.try_send(&bytes(0)).unwrap();
                ones.bell.rests(&ones.owner);
            }),
            thread::spawn(move || {
                other.try_send(&bytes(1)).unwrap();
                others.bell.rests(&others.owner);
            }),
        ];
        let mut received = [next(&mut receiver), next(&mut receiver)];
        received.sort_by_key(|(place, _)| *place);
        assert_eq!(received, [(0, Ok(0)), (1, Ok(1))]);
        for sender in senders {
            sender.join().unwrap();
        }
        bell.assert_no_wakeup_was_lost();
    });
}

#[test]
fn a_producer_that_dies_is_told_after_its_message_and_the_other_is_received() {
    explore(2, || {
        let bell = Arc::new(Bell::default());
        let (mut dies, from_dead, dead) = ring(&bell);
        let (mut lives, from_living, living) = ring(&bell);
        lives.try_send(&bytes(2)).unwrap();
        let places = [Some(from_dead), Some(from_living)];
        let mut receiver = Receiver::new(places, &*bell).unwrap();
        let sender = thread::spawn(move || {
            dies.try_send(&bytes(0)).unwrap();
            dead.end(EndState::Closed);
            living.bell.rests(&living.owner);
        });
        let received = [(); 3].map(|()| next(&mut receiver));
        let of = |place| {
            let of = received.iter().filter(move |(from, _)| *from == place);
            of.map(|(_, answer)| *answer).collect::<Vec<_>>()
        };
        assert_eq!(of(0), [Ok(0), Err(Error::PeerDied)]);
        assert_eq!(of(1), [Ok(2)]);
        assert_eq!(receiver.members(), 1);
        sender.join().unwrap();
        bell.assert_no_wakeup_was_lost();
    });
}

#[test]
fn who_waits_again_is_woken_again() {
    explore(4, || {
        let bell = Arc::new(Bell::default());
        let (mut producer, consumer, rings) = ring(&bell);
        let mut receiver = Receiver::new([Some(consumer), None], &*bell).unwrap();
        let sender = thread::spawn(move || {
            producer.try_send(&bytes(0)).unwrap();
            // The second has room once the first was received, which nobody tells a producer here.
            let second = producer.try_send(&bytes(1));
            rings.bell.rests(&rings.owner);
            second.is_ok()
        });
        assert_eq!(next(&mut receiver), (0, Ok(0)));
        let sent_both = sender.join().unwrap();
        if sent_both {
            assert_eq!(next(&mut receiver), (0, Ok(1)));
        }
        assert!(matches!(receiver.try_next(), Err(Error::Empty)));
        bell.assert_no_wakeup_was_lost();
    });
}
