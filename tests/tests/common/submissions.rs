//! Submission rings as the tests use them: the side of the process, and the calls that entries make.

use std::sync::Arc;
use std::thread::JoinHandle;

use abi::ring::{CONSUMER_OFFSET, DATA_OFFSET, PRODUCER_OFFSET};
use abi::submission::{
    Completion, DUE, Operation, Registered, Submission, SubmissionArgs, SubmissionFlags,
    SubmissionRingFlags, SubmissionViews,
};
use abi::{Error, Events, GrantFlags, Handle, MapFlags, Mode, Rights, SnapshotFlags, Token};

use fake::FakeTask;

use super::realm::Realm;

/// A ring of a domain, and how far the domain is with it.
pub struct Submissions {
    pub domain: usize,
    pub handle: Handle,
    pub views: SubmissionViews,
    pub entries: u32,
    pub completions: u32,
    pub tail: u32,
    pub head: u32,
}

impl Submissions {
    pub fn new(realm: &Realm, domain: usize, entries: u32, completions: u32) -> Submissions {
        Submissions::with(realm, domain, SubmissionArgs::new(entries, completions))
    }

    pub fn with(realm: &Realm, domain: usize, args: SubmissionArgs) -> Submissions {
        let (entries, completions) = (args.entries, args.completions);
        let owner = &realm.domains[domain];
        let handle = realm.ipc.create_submission_ring(owner, &args).unwrap();
        let views = realm.ipc.map_submission_ring(owner, handle).unwrap();
        Submissions {
            domain,
            handle,
            views,
            entries,
            completions,
            tail: args.start,
            head: args.start,
        }
    }

    fn store(&self, realm: &Realm, address: u64, word: u64) {
        realm
            .store(self.domain, self.domain, address, word)
            .unwrap();
    }

    fn load(&self, realm: &Realm, address: u64) -> u64 {
        realm.load(self.domain, self.domain, address).unwrap()
    }

    /// Where the entry of an index is.
    pub fn entry_at(&self, index: u32) -> u64 {
        let at = u64::from(index & (self.entries - 1)) * 64;
        self.views.submissions + DATA_OFFSET as u64 + at
    }

    /// Writes an entry where it belongs.
    pub fn write_at(&self, realm: &Realm, index: u32, entry: Submission) {
        for (word, at) in entry.to_words().into_iter().zip((0..).step_by(8)) {
            self.store(realm, self.entry_at(index) + at, word);
        }
    }

    /// Writes an entry behind those before, without publishing it.
    pub fn write(&mut self, realm: &Realm, entry: Submission) {
        self.write_at(realm, self.tail, entry);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Publishes what was written.
    pub fn publish(&self, realm: &Realm) {
        self.publish_tail(realm, self.tail);
    }

    pub fn publish_tail(&self, realm: &Realm, tail: u32) {
        let at = self.views.submissions + PRODUCER_OFFSET as u64;
        self.store(realm, at, tail.into());
    }

    pub fn release_head(&self, realm: &Realm, head: u32) {
        let at = self.views.completions + CONSUMER_OFFSET as u64;
        self.store(realm, at, head.into());
    }

    pub fn push(&mut self, realm: &Realm, entry: Submission) {
        self.write(realm, entry);
        self.publish(realm);
    }

    /// How many completions are there.
    pub fn posted(&self, realm: &Realm) -> u32 {
        let at = self.views.completions + PRODUCER_OFFSET as u64;
        (self.load(realm, at) as u32).wrapping_sub(self.head)
    }

    /// How many entries the kernel has released.
    pub fn released(&self, realm: &Realm) -> u32 {
        self.load(realm, self.views.submissions + CONSUMER_OFFSET as u64) as u32
    }

    /// Whether the header says that something is due.
    pub fn says_due(&self, realm: &Realm) -> bool {
        self.notes(realm) & DUE != 0
    }

    /// What the header notes.
    pub fn notes(&self, realm: &Realm) -> u32 {
        self.load(realm, self.views.submissions + 64) as u32
    }

    /// Takes the next completion without telling the kernel.
    pub fn peek(&mut self, realm: &Realm) -> Option<Completion> {
        if self.posted(realm) == 0 {
            return None;
        }
        let completion = self.completion_at(realm, self.head);
        assert_eq!((completion.reserved, completion.reserved_after), (0, 0));
        self.head = self.head.wrapping_add(1);
        Some(completion)
    }

    /// The completion of an index.
    pub fn completion_at(&self, realm: &Realm, index: u32) -> Completion {
        let at = u64::from(index & (self.completions - 1)) * 32;
        let at = self.views.completions + DATA_OFFSET as u64 + at;
        let word = |offset| self.load(realm, at + offset);
        Completion {
            user_data: word(0),
            result: word(8),
            operation: word(16) as u32,
            reserved: (word(16) >> 32) as u32,
            reserved_after: word(24),
        }
    }

    /// Takes all completions: what each is of, and its outcome.
    pub fn reap(&mut self, realm: &Realm) -> Vec<(u64, Result<u64, Error>)> {
        let mut all = Vec::new();
        while let Some(completion) = self.peek(realm) {
            all.push((completion.user_data, completion.outcome()));
        }
        self.release_head(realm, self.head);
        all
    }

    /// Enters the ring.
    pub fn enter(
        &self,
        realm: &Realm,
        submit: u32,
        wait_for: u32,
        deadline_ns: u64,
    ) -> Result<u64, Error> {
        let domain = &realm.domains[self.domain];
        realm.ipc.enter_submissions(
            domain,
            self.handle,
            submit,
            wait_for,
            deadline_ns,
            |operation, arguments| operate(realm, self.domain, operation, arguments),
        )
    }

    /// Has entries served, and takes all completions.
    pub fn run(&mut self, realm: &Realm, entries: &[Submission]) -> Vec<(u64, Result<u64, Error>)> {
        for entry in entries {
            self.write(realm, *entry);
        }
        self.publish(realm);
        let count = entries.len() as u32;
        assert_eq!(self.enter(realm, count, 0, 0), Ok(count.into()));
        self.reap(realm)
    }
}

/// A ring that a thread of its own is to serve.
pub fn polled(realm: &Realm) -> Submissions {
    polled_of(realm, SubmissionArgs::new(8, 8))
}

/// The same of this size.
pub fn polled_of(realm: &Realm, args: SubmissionArgs) -> Submissions {
    let flags = SubmissionRingFlags::POLL.bits();
    Submissions::with(realm, 0, SubmissionArgs { flags, ..args })
}

/// The thread of a ring, asleep.
pub fn serve(realm: &Arc<Realm>, ring: &Submissions) -> (JoinHandle<()>, FakeTask) {
    let handle = ring.handle;
    let (thread, task) = super::waiting::waiting(realm, move |realm| {
        fake::on_cpu(1, || {
            let call = |operation, arguments| operate(realm, 0, operation, arguments);
            let domain = &realm.domains[0];
            realm.ipc.poll_submissions(domain, handle, 0, call);
        });
    });
    task.until_asleep();
    (thread, task)
}

/// The system call of an operation, as a kernel makes it.
pub fn operate(
    realm: &Realm,
    domain: usize,
    operation: Operation,
    arguments: [u64; 6],
) -> Result<u64, Error> {
    let [a, b, c, d, e, _] = arguments;
    let (ipc, domain) = (&realm.ipc, &realm.domains[domain]);
    let handle = Handle::from_bits(a);
    let rights = |bits: u64| Rights::from_bits_truncate(bits as u32);
    match operation {
        Operation::Signal => ipc.signal(domain, handle, b).map(|()| 0),
        Operation::NotifyWait => ipc.wait_notification(domain, handle, b),
        Operation::Wait => {
            let events = Events::from_bits_truncate(b as u32);
            let held = ipc.wait_object(domain, handle, events, c)?;
            Ok(held.bits().into())
        }
        Operation::Send => ipc
            .send(domain, handle, ipc::Outgoing::EMPTY, c)
            .map(|()| 0),
        Operation::Derive => ipc.derive(domain, handle, rights(b)).map(Handle::bits),
        Operation::Drop => ipc.drop_capability(domain, handle).map(|()| 0),
        Operation::Map => {
            let flags = MapFlags::empty();
            ipc.map(domain, handle, b, c, d, rights(e), flags)
        }
        Operation::Unmap => ipc.unmap(domain, a).map(|()| 0),
        Operation::Snapshot => {
            let flags = SnapshotFlags::empty();
            let made = ipc.snapshot_region(domain, handle, b, c, flags);
            made.map(Handle::bits)
        }
        Operation::Copy => ipc.copy_region(domain, handle, b, Handle::from_bits(c), d, e),
        Operation::Register => {
            let slot = (b != u64::MAX).then_some(b);
            ipc.register(domain, handle, slot).map(Registered::bits)
        }
        Operation::Grant => {
            let mode = Mode::from_code(c).ok_or(Error::Invalid)?;
            let (via, flags) = (Handle::from_bits(b), GrantFlags::empty());
            let granted = ipc.grant(domain, handle, via, mode, rights(d), flags, arguments[5]);
            granted.map(Token::bits)
        }
        Operation::Accept => {
            let accepted = ipc.accept(domain, Token::from_bits(a), Handle::from_bits(b));
            accepted.map(Handle::bits)
        }
        Operation::RingWake => ipc.wake_ring(domain, handle).map(|()| 0),
        other => panic!("nobody asked for {other:?}"),
    }
}

pub fn nop(number: u64) -> Submission {
    Submission::new(Operation::Nop, number, [0; 6])
}

pub fn signal(number: u64, handle: Handle, bits: u64) -> Submission {
    let arguments = [handle.bits(), bits, 0, 0, 0, 0];
    Submission::new(Operation::Signal, number, arguments)
}

pub fn wait(number: u64, handle: Handle, deadline_ns: u64) -> Submission {
    let arguments = [handle.bits(), deadline_ns, 0, 0, 0, 0];
    Submission::new(Operation::NotifyWait, number, arguments)
}

pub fn cancel(number: u64, target: u64) -> Submission {
    Submission::new(Operation::Cancel, number, [target, 0, 0, 0, 0, 0])
}

pub fn timeout(number: u64, deadline_ns: u64) -> Submission {
    Submission::new(Operation::Timeout, number, [deadline_ns, 0, 0, 0, 0, 0])
}

pub const LINK: SubmissionFlags = SubmissionFlags::LINK;
pub const REGISTERED: SubmissionFlags = SubmissionFlags::REGISTERED;
