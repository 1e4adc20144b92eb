//! Every interleaving, up to a bound on preemptions, of the two ends of a ring that sleep in the kernel: the ends are
//! those of the crate `ring`, and `ring_wait` and `ring_wake` those of this one. Whoever sleeps is woken by what is
//! published.
//!
//! In the asymmetric form who publishes has no fence, and enters and leaves its space on a CPU of its own; it is interrupted
//! before it publishes, between that and its look for a sleeper, and after it.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p handover-ipc --release --test loom_ring_sleep`
#![cfg(loom)]

#[allow(dead_code, reason = "each model uses a part of it")]
mod loom_platform;

use std::mem::offset_of;
use std::sync::Arc;

use abi::ring::{End, Form, Geometry, Header, IndexPage};
use abi::{FOREVER, Handle, RingShape};
use loom::sync::atomic::{AtomicBool, Ordering};
use loom_platform::{Realm, become_cpu, explore, spawn};
use mm::Frame;
use ring::Wait;
use ring::memory::Owner;
use ring::slot::{Consumer, Producer};

/// The CPU of whoever publishes; who sleeps is on CPU 0.
const ELSEWHERE: usize = 1;

/// Turns in which who was woken has come to its end.
const PATIENCE: u32 = 200;

/// The way into the kernel by one end.
struct Calls {
    realm: Arc<Realm>,
    end: Handle,
}

impl Wait for Calls {
    fn wait(&self, seen: u32, deadline_ns: u64) -> Result<(), ring::Error> {
        let Realm { ipc, domain, .. } = &*self.realm;
        let slept = ipc.wait_ring(domain, self.end, seen, deadline_ns);
        slept.map_err(|_| ring::Error::Unsupported)
    }

    fn wake(&self) {
        let Realm { ipc, domain, .. } = &*self.realm;
        ipc.wake_ring(domain, self.end).unwrap();
    }
}

/// Both ends of a ring of so many slots.
fn ends(realm: &Arc<Realm>, form: Form, slots: u32) -> (Producer<Calls>, Consumer<Calls>) {
    let geometry = Geometry::slot(64, slots);
    let ipc = &realm.ipc;
    let made = ipc.create_ring(
        &realm.domain,
        RingShape {
            geometry,
            form,
            start: 0,
        },
    );
    let (producer, consumer) = made.unwrap();
    let owner = match form {
        Form::Symmetric => Owner::model(geometry, 0, 1),
        Form::Asymmetric => {
            let kernel = Arc::downgrade(realm);
            Owner::asymmetric(geometry, 0, 1, move || {
                kernel.upgrade().unwrap().ipc.memory().serve();
            })
        }
    };
    // The kernel reads the very words that the ends write.
    let memory = &ipc.platform().memory;
    let header = memory.frames_with(offset_of!(Header, magic))[0];
    for end in [End::Producer, End::Consumer] {
        let page = Frame::from_number(header.number() + 1 + end as u64);
        let owner = owner.clone();
        memory.show(page, offset_of!(IndexPage, index), move || owner.index(end));
    }
    let calls = |end| Calls {
        realm: realm.clone(),
        end,
    };
    let sends = Producer::attach(owner.producer(), calls(producer)).unwrap();
    let receives = Consumer::attach(owner.consumer(), calls(consumer)).unwrap();
    (sends, receives)
}

/// Publishes in its space on a CPU of its own, as a program that the scheduler takes and leaves there, and serves the
/// other CPU until that has what it waits for.
fn publish_elsewhere(realm: &Realm, publish: impl FnOnce(), over: &AtomicBool) {
    become_cpu(ELSEWHERE);
    let memory = realm.ipc.memory();
    let (kernel, space) = (Frame::from_number(2), &**realm.domain.space());
    memory.switch_space(Some(space), kernel);
    memory.serve();
    publish();
    memory.serve();
    memory.switch_space(None, kernel);
    let mut turns = 0;
    while !over.load(Ordering::Acquire) {
        turns += 1;
        assert!(turns < PATIENCE, "who sleeps was forgotten");
        memory.serve();
        loom::thread::yield_now();
    }
}

#[test]
fn a_receiver_is_woken_by_who_has_no_fence() {
    explore(3, || {
        let realm = Realm::new();
        let (mut sender, mut receiver) = ends(&realm, Form::Asymmetric, 1);
        let over = Arc::new(AtomicBool::new(false));
        let told = over.clone();
        let publisher = spawn(&realm, move |realm| {
            publish_elsewhere(realm, || sender.try_send(&[7; 8]).unwrap(), &told);
        });
        let mut bytes = [0; 8];
        assert_eq!(receiver.receive(&mut bytes, FOREVER), Ok(8));
        assert_eq!(bytes, [7; 8]);
        over.store(true, Ordering::Release);
        publisher.join().unwrap();
    });
}

#[test]
fn a_sender_is_woken_by_who_has_no_fence() {
    explore(3, || {
        let realm = Realm::new();
        let (mut sender, mut receiver) = ends(&realm, Form::Asymmetric, 1);
        sender.try_send(&[7; 8]).unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let told = over.clone();
        let publisher = spawn(&realm, move |realm| {
            let receive = || {
                receiver.try_receive(&mut [0; 8]).unwrap();
                receiver.flush();
            };
            publish_elsewhere(realm, receive, &told);
        });
        sender.send(&[8; 8], FOREVER).unwrap();
        over.store(true, Ordering::Release);
        publisher.join().unwrap();
    });
}

#[test]
fn two_with_fences_always_wake_each_other() {
    explore(2, || {
        let realm = Realm::new();
        let (mut sender, mut receiver) = ends(&realm, Form::Symmetric, 1);
        let publisher = spawn(&realm, move |_| {
            for number in 0..2 {
                sender.send(&[number; 8], FOREVER).unwrap();
            }
        });
        for number in 0..2 {
            let mut bytes = [0; 8];
            assert_eq!(receiver.receive(&mut bytes, FOREVER), Ok(8));
            assert_eq!(bytes, [number; 8]);
        }
        publisher.join().unwrap();
    });
}
