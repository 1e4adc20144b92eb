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

#[test]
fn who_sleeps_for_a_request_is_woken_by_who_sleeps_for_its_answer() {
    explore(3, || {
        let (there, back) = (ring(), ring());
        let (requests, sends, hears) = kernel(&there);
        let (answers, answers_by, calls) = kernel(&back);
        let receives = Receives {
            calls,
            sends: requests.clone(),
        };
        let mut asks = Duplex::new(
            Producer::attach(there.producer(), Deferring::new(sends)).unwrap(),
            Consumer::attach(back.consumer(), receives).unwrap(),
        );
        let mut hears = Consumer::attach(there.consumer(), hears).unwrap();
        let mut says = Producer::attach(back.producer(), answers_by).unwrap();
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
