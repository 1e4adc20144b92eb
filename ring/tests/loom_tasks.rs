//! Every interleaving, up to a bound on preemptions, of a task that waits at an end and of what its peer does meanwhile.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p handover-ring --release --test loom_tasks`
#![cfg(loom)]

mod loom_kernel;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Wake, Waker};

use abi::ring::{End, EndState, Geometry};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use loom_kernel::{bytes, explore};
use ring::asynchronous::{Receiver, Sender, WaitAsTask};
use ring::memory::Owner;
use ring::slot::{Consumer, Producer, Slot};
use ring::{Error, Wait, index};

/// What stands in for the kernel: whom a wake of each end is for, and what each task waits for.
struct Bells {
    owner: Owner,
    told: Mutex<[Option<Task>; 2]>,
}

struct Task {
    seen: u32,
    waker: Waker,
}

#[derive(Clone)]
struct Bell {
    bells: Arc<Bells>,
    end: End,
}

impl Bells {
    fn close(&self, end: End, state: EndState) {
        let mut told = self.told.lock().unwrap();
        self.owner.set_state(end, state);
        for task in told.iter_mut().filter_map(Option::take) {
            task.waker.wake();
        }
    }

    /// `end` does nothing more: whether its peer is a task that was forgotten, which is woken.
    fn forgets(&self, end: End) -> bool {
        let mut told = self.told.lock().unwrap();
        let index = self.owner.index(end);
        let peer = &mut told[end.peer() as usize];
        let forgotten = peer.take_if(|task| index::has_reached(index, task.seen));
        let is_one = forgotten.is_some();
        forgotten.into_iter().for_each(|task| task.waker.wake());
        is_one
    }
}

impl Wait for Bell {
    fn wait(&self, _seen: u32, _deadline_ns: u64) -> Result<(), Error> {
        Err(Error::Unsupported)
    }

    fn wake(&self) {
        let task = self.bells.told.lock().unwrap()[self.end.peer() as usize].take();
        task.into_iter().for_each(|task| task.waker.wake());
    }
}

impl WaitAsTask for Bell {
    fn poll_wait(&self, seen: u32, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let (owner, peer) = (&self.bells.owner, self.end.peer());
        let mut told = self.bells.told.lock().unwrap();
        if index::wait_is_over(owner.state(peer), owner.index(peer), seen) {
            told[self.end as usize] = None;
            return Poll::Ready(Ok(()));
        }
        let waker = context.waker().clone();
        told[self.end as usize] = Some(Task { seen, waker });
        Poll::Pending
    }
}

/// The thread that runs a task.
#[derive(Default)]
struct Thread {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Wake for Thread {
    fn wake(self: std::sync::Arc<Self>) {
        *self.woken.lock().unwrap() = true;
        self.changed.notify_all();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let thread = std::sync::Arc::new(Thread::default());
    let waker = Waker::from(thread.clone());
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(answer) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return answer;
        }
        let mut woken = thread.woken.lock().unwrap();
        while !*woken {
            woken = thread.changed.wait(woken).unwrap();
        }
        *woken = false;
    }
}

/// A ring of so many slots, whose ends tasks may wait at.
fn ring(capacity: u32) -> (Sender<Slot, Bell>, Receiver<Slot, Bell>, Arc<Bells>) {
    let owner = Owner::model(Geometry::slot(64, capacity), u32::MAX, 1);
    let bells = Arc::new(Bells {
        owner: owner.clone(),
        told: Mutex::new([None, None]),
    });
    let bell = |end| Bell {
        bells: bells.clone(),
        end,
    };
    let producer = Producer::attach(owner.producer(), bell(End::Producer)).unwrap();
    let consumer = Consumer::attach(owner.consumer(), bell(End::Consumer)).unwrap();
    (Sender::new(producer), Receiver::new(consumer), bells)
}

async fn receive(receiver: &mut Receiver<Slot, Bell>, number: u64) {
    let mut target = [0; 8];
    assert_eq!(receiver.receive(&mut target).await, Ok(8));
    assert_eq!(target, bytes(number));
}

#[test]
fn a_task_that_receives_is_woken_by_what_is_published() {
    explore(4, || {
        let (mut sender, mut receiver, bells) = ring(2);
        let sends = thread::spawn(move || {
            for number in 0..2 {
                sender.end().try_send(&bytes(number)).unwrap();
            }
            bells.forgets(End::Producer)
        });
        block_on(async {
            for number in 0..2 {
                receive(&mut receiver, number).await;
            }
        });
        assert!(!sends.join().unwrap(), "a wakeup was lost");
    });
}

#[test]
fn a_task_that_sends_is_woken_by_room() {
    explore(4, || {
        let (mut sender, mut receiver, bells) = ring(1);
        sender.end().try_send(&bytes(0)).unwrap();
        let receives = thread::spawn(move || {
            let mut target = [0; 8];
            assert_eq!(receiver.end().try_receive(&mut target), Ok(8));
            assert_eq!(target, bytes(0));
            (bells.forgets(End::Consumer), receiver)
        });
        assert_eq!(block_on(sender.send(&bytes(1))), Ok(()));
        let (lost, mut receiver) = receives.join().unwrap();
        assert!(!lost, "a wakeup was lost");
        block_on(receive(&mut receiver, 1));
    });
}

#[test]
fn a_task_that_waits_while_its_peer_ends_hears_of_it_after_the_last_message() {
    explore(4, || {
        let (mut sender, mut receiver, bells) = ring(2);
        let ends = thread::spawn(move || {
            sender.end().try_send(&bytes(0)).unwrap();
            bells.close(End::Producer, EndState::Draining);
        });
        block_on(async {
            receive(&mut receiver, 0).await;
            let answer = receiver.receive(&mut [0; 8]).await;
            assert_eq!(answer, Err(Error::PeerClosed));
        });
        ends.join().unwrap();
    });
}

#[test]
fn what_a_dropped_future_waited_for_is_received_by_the_next() {
    explore(3, || {
        let (mut sender, mut receiver, bells) = ring(2);
        let sends = thread::spawn(move || {
            sender.end().try_send(&bytes(0)).unwrap();
            bells.forgets(End::Producer)
        });
        let mut target = [0; 8];
        let first = {
            let mut future = pin!(receiver.receive(&mut target));
            future
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
        };
        match first {
            Poll::Ready(answer) => assert_eq!((answer, target), (Ok(8), bytes(0))),
            Poll::Pending => {
                block_on(receive(&mut receiver, 0));
            }
        }
        // A wake that the dropped one was to have may be missed: it is not there any more.
        let _ = sends.join().unwrap();
    });
}
