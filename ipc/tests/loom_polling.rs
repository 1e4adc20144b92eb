//! Every interleaving, up to a bound on preemptions, of the thread of a submission ring that goes to rest with a program
//! that publishes entries and gives room back, with what the thread is to look at again, and with the end of the ring:
//! nothing that was published, and for whose completion there is room, stays undone while the thread sleeps.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p handover-ipc --release --test loom_polling`
#![cfg(loom)]

mod loom_platform;

use std::mem::offset_of;
use std::sync::Arc;

use abi::ring::IndexPage;
use abi::submission::{ENTRY_BYTES, Operation, Submission, SubmissionHeader, SubmissionRingFlags};
use abi::{Error, FOREVER, Handle, SubmissionArgs};
use loom::sync::atomic::{AtomicU32, Ordering};
use loom_platform::{Realm, Task, current, explore, spawn};
use mm::Frame;
use ring::submission::{give_back_to_thread, publish_to_thread};

/// The first index of both rings: they wrap at once.
const START: u32 = u32::MAX;

/// A ring with a thread of its own, as its program has it.
#[derive(Clone, Copy)]
struct Polled {
    handle: Handle,
    /// How many entries, and completions, it has room for.
    capacity: u32,
    /// The headers of the entries and of the completions, and the pages behind each.
    headers: [Frame; 2],
}

/// The two rings of a ring, and the pages that either has.
const ENTRIES: usize = 0;
const COMPLETIONS: usize = 1;
const PRODUCER: u64 = 1;
const CONSUMER: u64 = 2;

/// How many entries were done, and who is told of each.
struct Done {
    count: AtomicU32,
    program: Arc<Task>,
}

impl Done {
    fn new() -> Arc<Done> {
        Arc::new(Done {
            count: AtomicU32::new(0),
            program: current(),
        })
    }

    /// Sleeps until so many are.
    fn wait(&self, count: u32) {
        while self.count.load(Ordering::Acquire) < count {
            loom::thread::park();
        }
    }
}

impl Polled {
    fn new(realm: &Realm) -> Polled {
        Polled::with(realm, 4)
    }

    fn with(realm: &Realm, capacity: u32) -> Polled {
        let args = SubmissionArgs {
            flags: SubmissionRingFlags::POLL.bits(),
            start: START,
            ..SubmissionArgs::new(capacity, capacity)
        };
        let made = realm.ipc.create_submission_ring(&realm.domain, &args);
        // A word that no page but a header has: the indices are where the magic is.
        let version = offset_of!(SubmissionHeader, version);
        let memory = &realm.ipc.platform().memory;
        let headers = memory.frames_with(version);
        // All words that two tasks share are there before there are two.
        for header in &headers {
            memory.word(*header, offset_of!(SubmissionHeader, notes));
            for page in 1..=2 {
                let page = Frame::from_number(header.number() + page);
                memory.word(page, offset_of!(IndexPage, index));
            }
        }
        Polled {
            handle: made.unwrap(),
            capacity,
            headers: [headers[0], headers[1]],
        }
    }

    /// A page of the entries or of the completions.
    fn page(self, half: usize, number: u64) -> Frame {
        Frame::from_number(self.headers[half].number() + number)
    }

    /// The word of the producer or of the consumer of either.
    fn index(self, realm: &Realm, half: usize, page: u64) -> Arc<AtomicU32> {
        let memory = &realm.ipc.platform().memory;
        memory.word(self.page(half, page), offset_of!(IndexPage, index))
    }

    fn notes(self, realm: &Realm) -> Arc<AtomicU32> {
        let memory = &realm.ipc.platform().memory;
        memory.word(self.headers[0], offset_of!(SubmissionHeader, notes))
    }

    /// Is the thread of the ring, until that is gone. It rests as soon as it finds nothing.
    fn serve(self, realm: &Realm, done: &Done) {
        let operate = |operation, _| {
            assert_eq!(operation, Operation::Signal);
            done.count.fetch_add(1, Ordering::Release);
            done.program.unpark();
            Ok(0)
        };
        let ipc = &realm.ipc;
        ipc.poll_submissions(&realm.domain, self.handle, 0, operate);
    }

    /// Writes and publishes the entry of a number as a program does, which enters the kernel only if the thread rests.
    fn submit(self, realm: &Realm, number: u32, entry: &Submission) {
        let index = START.wrapping_add(number);
        let memory = &realm.ipc.platform().memory;
        let words = entry.to_words().map(u64::to_le_bytes);
        let at = (index % self.capacity * ENTRY_BYTES) as usize;
        memory.write(self.page(ENTRIES, 3), at, words.as_flattened());
        let tail = self.index(realm, ENTRIES, PRODUCER);
        if publish_to_thread(&tail, index.wrapping_add(1), &self.notes(realm)) {
            self.enter(realm);
        }
    }

    /// Gives back the cells of so many completions, as a program does that may have left entries.
    fn give_back(self, realm: &Realm, count: u32) {
        let index = START.wrapping_add(count);
        let head = self.index(realm, COMPLETIONS, CONSUMER);
        if give_back_to_thread(&head, index, &self.notes(realm)) {
            self.enter(realm);
        }
    }

    fn enter(self, realm: &Realm) {
        let never = |_, _| -> Result<u64, Error> { panic!("the thread serves") };
        let entered = realm
            .ipc
            .enter_submissions(&realm.domain, self.handle, 0, 0, 0, never);
        assert_eq!(entered, Ok(0));
    }
}

/// An entry that is told of when it is done.
fn signal() -> Submission {
    Submission::new(Operation::Signal, 0, [0; 6])
}

#[test]
fn what_is_published_while_the_thread_goes_to_rest_is_done() {
    explore(3, || {
        let realm = Realm::new();
        let (ring, done) = (Polled::new(&realm), Done::new());
        let told = done.clone();
        let server = spawn(&realm, move |realm| ring.serve(realm, &told));
        ring.submit(&realm, 0, &signal());
        done.wait(1);
        // It may be on its way to rest again.
        ring.submit(&realm, 1, &signal());
        done.wait(2);
        realm
            .ipc
            .drop_capability(&realm.domain, ring.handle)
            .unwrap();
        server.join().unwrap();
    });
}

#[test]
fn what_was_left_for_want_of_room_is_done_once_there_is_some_while_the_thread_goes_to_rest() {
    explore(3, || {
        let realm = Realm::new();
        let (ring, done) = (Polled::with(&realm, 1), Done::new());
        ring.submit(&realm, 0, &signal());
        let told = done.clone();
        let server = spawn(&realm, move |realm| ring.serve(realm, &told));
        let posted = ring.index(&realm, COMPLETIONS, PRODUCER);
        while posted.load(Ordering::Acquire) == START {
            loom::thread::yield_now();
        }
        // The only cell has the completion of the first.
        ring.submit(&realm, 1, &signal());
        ring.give_back(&realm, 1);
        done.wait(2);
        realm
            .ipc
            .drop_capability(&realm.domain, ring.handle)
            .unwrap();
        server.join().unwrap();
    });
}

#[test]
fn what_waited_is_completed_while_the_thread_goes_to_rest() {
    explore(2, || {
        let realm = Realm::new();
        let (ring, done) = (Polled::new(&realm), Done::new());
        // Waits until it is signalled, and then goes on with what is linked to it.
        let arguments = [realm.notification.bits(), FOREVER, 0, 0, 0, 0];
        let wait = Submission::new(Operation::NotifyWait, 0, arguments);
        let wait = wait.with(abi::submission::SubmissionFlags::LINK);
        ring.submit(&realm, 0, &wait);
        ring.submit(&realm, 1, &signal());
        let told = done.clone();
        let server = spawn(&realm, move |realm| {
            let ipc = &realm.ipc;
            let operate = |operation, arguments: [u64; 6]| match operation {
                Operation::NotifyWait => {
                    let handle = Handle::from_bits(arguments[0]);
                    ipc.wait_notification(&realm.domain, handle, 0)
                }
                _ => {
                    told.count.fetch_add(1, Ordering::Release);
                    told.program.unpark();
                    Ok(0)
                }
            };
            ipc.poll_submissions(&realm.domain, ring.handle, 0, operate);
        });
        realm.signal(1);
        done.wait(1);
        realm
            .ipc
            .drop_capability(&realm.domain, ring.handle)
            .unwrap();
        server.join().unwrap();
    });
}

#[test]
fn a_ring_that_ends_while_its_thread_goes_to_rest_ends_the_thread() {
    explore(4, || {
        let realm = Realm::new();
        let (ring, done) = (Polled::new(&realm), Done::new());
        let server = spawn(&realm, move |realm| ring.serve(realm, &done));
        realm
            .ipc
            .drop_capability(&realm.domain, ring.handle)
            .unwrap();
        server.join().unwrap();
    });
}
