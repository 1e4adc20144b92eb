//! Every interleaving of two sides of which one exchanges: its wake is left to the sleep for the answer.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p handover-ring --release --test loom_exchange`
#![cfg(loom)]

mod loom_kernel;

use abi::ring::{End, Geometry};
use loom::sync::Arc;
use loom::thread;
use loom_kernel::{Calls, FOREVER, Kernel, bytes, explore, kernel};
use ring::duplex::{Deferring, Duplex};
use ring::memory::Owner;
use ring::slot::{Consumer, Producer};
use ring::{Error, Turn, Wait};

/// How a side sleeps for an answer: whoever it has not woken by then is forgotten.
struct Receives {
    calls: Calls,
    sends: Arc<Kernel>,
}

impl Wait for Receives {
    fn wait(&self, seen: u32, deadline_ns: u64) -> Result<(), Error> {
        self.sends.finish(End::Producer);
        self.calls.wait(seen, deadline_ns)
    }

    fn wake(&self) {
        self.calls.wake();
    }
}

impl Turn<Calls> for Receives {}

fn ring() -> Owner {
    Owner::model(Geometry::slot(64, 1), u32::MAX, 1)
}

type Asks = Duplex<Producer<Deferring<Calls>>, Consumer<Receives>>;

/// A side that exchanges, the two ends of the other, and the kernels of both rings, that of the requests first.
fn sides() -> (Asks, Consumer<Calls>, Producer<Calls>, [Arc<Kernel>; 2]) {
    let (there, back) = (ring(), ring());
    let (requests, sends, hears) = kernel(&there);
    let (answers, answers_by, calls) = kernel(&back);
    let receives = Receives {
        calls,
        sends: requests.clone(),
    };
    let asks = Duplex::new(
        Producer::attach(there.producer(), Deferring::new(sends)).unwrap(),
        Consumer::attach(back.consumer(), receives).unwrap(),
    );
    let hears = Consumer::attach(there.consumer(), hears).unwrap();
    let says = Producer::attach(back.producer(), answers_by).unwrap();
    (asks, hears, says, [requests, answers])
}

#[test]
fn who_sleeps_for_a_request_is_woken_by_who_sleeps_for_its_answer() {
    explore(3, || {
        let (mut asks, mut hears, mut says, [requests, answers]) = sides();
        let answering = answers.clone();
        let server = thread::spawn(move || {
            let mut request = [0; 8];
            assert_eq!(hears.receive(&mut request, FOREVER), Ok(8));
            assert_eq!(request, bytes(0));
            says.try_send(&bytes(1)).unwrap();
            answering.finish(End::Producer);
        });
        let mut answer = [0; 8];
        assert_eq!(asks.exchange(&bytes(0), &mut answer, FOREVER), Ok(8));
        assert_eq!(answer, bytes(1));
        server.join().unwrap();
        requests.assert_no_wakeup_was_lost();
        answers.assert_no_wakeup_was_lost();
    });
}

#[test]
fn who_sends_more_in_a_turn_than_there_is_room_for_wakes_who_makes_it() {
    explore(2, || {
        let (mut asks, mut hears, mut says, [requests, answers]) = sides();
        let (hearing, answering) = (requests.clone(), answers.clone());
        let server = thread::spawn(move || {
            for number in 0..2 {
                let mut request = [0; 8];
                assert_eq!(hears.receive(&mut request, FOREVER), Ok(8));
                assert_eq!(request, bytes(number));
            }
            hearing.finish(End::Consumer);
            says.try_send(&bytes(2)).unwrap();
            answering.finish(End::Producer);
        });
        let mut answer = [0; 8];
        let received = asks.turn(
            |sender| {
                sender.try_send(&bytes(0))?;
                sender.send(&bytes(1), FOREVER)
            },
            |receiver| receiver.try_receive(&mut answer),
            FOREVER,
        );
        assert_eq!((received, answer), (Ok(8), bytes(2)));
        server.join().unwrap();
        requests.assert_no_wakeup_was_lost();
        answers.assert_no_wakeup_was_lost();
    });
}
