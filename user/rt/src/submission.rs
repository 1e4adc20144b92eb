//! Submission rings: many calls with one entry into the kernel.
//!
//! ```ignore
//! let mut ring = rt::Submissions::new(64)?;
//! ring.nop(1)?;
//! ring.signal(2, &bell, 0b1)?;
//! ring.submit_and_wait(2, rt::FOREVER)?;
//! while let Some(completion) = ring.take() {
//!     println!("{}: {:?}", completion.user_data, completion.outcome());
//! }
//! ```
//!
//! What an entry asks for is a system call with its arguments ([`Operation`]); its completion says what
//! that returned. Calls that wait complete later, in any order.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use abi::ring::{CONSUMER_OFFSET, DATA_OFFSET, IndexPage, PRODUCER_OFFSET};
use abi::submission::{
    COMPLETION_BYTES, Completion, DUE, ENTRY_BYTES, MAGIC, Operation, RESTING, Registered,
    Submission, SubmissionArgs, SubmissionHeader, SubmissionInfo, SubmissionRingFlags,
    SubmissionViews, VERSION,
};
use abi::{Error, Handle, UserPtr};

use crate::{Notification, sys};

/// A submission ring: one thread asks, and takes what comes of it. Dropping it gives the ring back, with
/// all operations that wait in it.
#[derive(Debug)]
pub struct Submissions {
    handle: Handle,
    submissions: View,
    completions: View,
    /// Entries that were written, and those of them that were published.
    tail: u32,
    published: u32,
    /// Entries that the kernel has taken, as known here.
    taken: u32,
    /// Completions that were taken, and posted as known here.
    head: u32,
    posted: u32,
    /// Completions whose cells the kernel may use again, as it was told.
    given_back: u32,
    polled: bool,
}

/// Where one of the two rings is mapped.
#[derive(Clone, Copy, Debug)]
struct View {
    base: NonNull<u8>,
    mask: u32,
}

impl View {
    /// The ring at an address, where the kernel has mapped one. `Fault`: there is none.
    fn new(address: u64, capacity: u32, size: u32) -> Result<View, Error> {
        let base = NonNull::new(address as *mut u8).ok_or(Error::Fault)?;
        let view = View {
            base,
            mask: capacity - 1,
        };
        let read = |offset| view.word(offset).load(Ordering::Acquire);
        let found = [
            read(core::mem::offset_of!(SubmissionHeader, magic)),
            read(core::mem::offset_of!(SubmissionHeader, version)),
            read(core::mem::offset_of!(SubmissionHeader, entry_size)),
            read(core::mem::offset_of!(SubmissionHeader, capacity)),
        ];
        match found == [MAGIC, VERSION, size, capacity] {
            true => Ok(view),
            false => Err(Error::Fault),
        }
    }

    /// A word of the control pages.
    #[inline(always)]
    fn word(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: an aligned word of a page that is mapped as long as the ring is, and that everybody
        // accesses atomically.
        unsafe { &*self.base.as_ptr().add(offset).cast::<AtomicU32>() }
    }

    /// The words of an entry.
    #[inline(always)]
    fn entry<const WORDS: usize>(&self, index: u32) -> &[AtomicU64; WORDS] {
        let at = DATA_OFFSET + (index & self.mask) as usize * WORDS * 8;
        // SAFETY: an aligned entry within the data, which is mapped as long as the ring is; what the
        // kernel writes there meanwhile it writes whole, and nobody reads it before it says so.
        unsafe { &*self.base.as_ptr().add(at).cast() }
    }
}

const INDEX: usize = core::mem::offset_of!(IndexPage, index);
const NOTES: usize = core::mem::offset_of!(SubmissionHeader, notes);

impl Submissions {
    /// A ring of so many entries (a power of two) and twice as many completions. Errors of `sub_create`
    /// and `sub_map`.
    pub fn new(entries: u32) -> Result<Submissions, Error> {
        Submissions::with(&SubmissionArgs::new(entries, 0))
    }

    /// A ring that a thread of the kernel serves, until nothing has come for so many microseconds.
    pub fn polled(entries: u32, idle_us: u32) -> Result<Submissions, Error> {
        Submissions::with(&SubmissionArgs {
            flags: SubmissionRingFlags::POLL.bits(),
            idle_us,
            ..SubmissionArgs::new(entries, 0)
        })
    }

    /// A ring as `args` say.
    pub fn with(args: &SubmissionArgs) -> Result<Submissions, Error> {
        let (geometry, flags) = args.decode()?;
        // SAFETY: the pointer leads to `args`.
        let handle = unsafe { sys::sub_create(UserPtr::new((&raw const *args) as u64)) }?;
        let mut views = SubmissionViews::default();
        // SAFETY: the pointer leads to `views`; a new mapping touches nobody's memory.
        let mapped = unsafe { sys::sub_map(handle, UserPtr::new((&raw mut views) as u64)) };
        let opened = mapped.and_then(|()| {
            Ok(Submissions {
                handle,
                submissions: View::new(views.submissions, geometry.entries, ENTRY_BYTES)?,
                completions: View::new(views.completions, geometry.completions, COMPLETION_BYTES)?,
                tail: geometry.start,
                published: geometry.start,
                taken: geometry.start,
                head: geometry.start,
                posted: geometry.start,
                given_back: geometry.start,
                polled: flags.contains(SubmissionRingFlags::POLL),
            })
        });
        opened.inspect_err(|_| _ = crate::drop_handle(handle))
    }

    /// Its handle, to wait for it at a port, or to ask about it.
    pub fn handle(&self) -> Handle {
        self.handle
    }

    /// Facts about it.
    pub fn info(&self) -> Result<SubmissionInfo, Error> {
        let mut info = SubmissionInfo::default();
        // SAFETY: the pointer leads to `info`.
        unsafe { sys::sub_info(self.handle, UserPtr::new((&raw mut info) as u64)) }?;
        Ok(info)
    }

    /// Writes an entry, to be published by [`submit`](Submissions::submit). `Full`: there is no room.
    ///
    /// # Safety
    /// As of the system call that the entry stands for; what its arguments lead to is there until it is
    /// completed.
    #[inline(always)]
    pub unsafe fn push(&mut self, entry: Submission) -> Result<(), Error> {
        if self.tail.wrapping_sub(self.taken) > self.submissions.mask {
            self.look_at_taken()?;
        }
        let place = self.submissions.entry::<8>(self.tail);
        for (to, word) in place.iter().zip(entry.to_words()) {
            to.store(word, Ordering::Relaxed);
        }
        self.tail = self.tail.wrapping_add(1);
        Ok(())
    }

    #[cold]
    fn look_at_taken(&mut self) -> Result<(), Error> {
        // SYNC(submission.head): the kernel has copied the entries before it.
        let head = self.submissions.word(CONSUMER_OFFSET + INDEX);
        self.taken = head.load(Ordering::Acquire);
        match self.tail.wrapping_sub(self.taken) > self.submissions.mask {
            true => Err(Error::Full),
            false => Ok(()),
        }
    }

    /// An entry that does nothing.
    pub fn nop(&mut self, user_data: u64) -> Result<(), Error> {
        // SAFETY: it does nothing.
        unsafe { self.push(Submission::new(Operation::Nop, user_data, [0; 6])) }
    }

    /// An entry that sets bits of a notification.
    pub fn signal(&mut self, user_data: u64, to: &Notification, bits: u64) -> Result<(), Error> {
        let arguments = [to.handle().bits(), bits, 0, 0, 0, 0];
        // SAFETY: a signal touches no memory.
        unsafe { self.push(Submission::new(Operation::Signal, user_data, arguments)) }
    }

    /// An entry that waits for bits of a notification and takes them.
    pub fn wait(&mut self, user_data: u64, on: &Notification, deadline: u64) -> Result<(), Error> {
        let arguments = [on.handle().bits(), deadline, 0, 0, 0, 0];
        // SAFETY: a wait touches no memory.
        unsafe { self.push(Submission::new(Operation::NotifyWait, user_data, arguments)) }
    }

    /// An entry that completes at a time.
    pub fn timeout(&mut self, user_data: u64, deadline: u64) -> Result<(), Error> {
        let arguments = [deadline, 0, 0, 0, 0, 0];
        // SAFETY: time touches no memory.
        unsafe { self.push(Submission::new(Operation::Timeout, user_data, arguments)) }
    }

    /// An entry that ends the operations which wait under a number.
    pub fn cancel(&mut self, user_data: u64, target: u64) -> Result<(), Error> {
        let arguments = [target, 0, 0, 0, 0, 0];
        // SAFETY: an operation that ends touches no memory any more.
        unsafe { self.push(Submission::new(Operation::Cancel, user_data, arguments)) }
    }

    /// An entry that registers a handle in a reserved slot, or in any with `u64::MAX`; its completion tells the
    /// number. Entries behind it that are to use one which they know before ask for a slot: the number is
    /// that of the slot's last registration, [`next`](Registered::next).
    pub fn register(&mut self, user_data: u64, handle: Handle, slot: u64) -> Result<(), Error> {
        let arguments = [handle.bits(), slot, 0, 0, 0, 0];
        // SAFETY: it touches no memory.
        unsafe { self.push(Submission::new(Operation::Register, user_data, arguments)) }
    }

    /// An entry that lets a registered handle go, and waits in the ring for operations that use it, those
    /// of this ring included; with a deadline of 0 it is `Busy` where there are some.
    pub fn unregister(
        &mut self,
        user_data: u64,
        id: Registered,
        deadline: u64,
    ) -> Result<(), Error> {
        let arguments = [id.bits(), deadline, 0, 0, 0, 0];
        // SAFETY: it touches no memory.
        unsafe { self.push(Submission::new(Operation::Unregister, user_data, arguments)) }
    }

    /// Publishes the entries that were written and has them served. Without a thread of the ring that is at once, and the
    /// answer is how many have been taken; the others stay, for want of room for their completions. Where the ring has a
    /// thread, which is woken if it sleeps, that is soon, and the answer is how many have been published.
    pub fn submit(&mut self) -> Result<u32, Error> {
        self.submit_and_wait(0, 0)
    }

    /// The same, and waits until at least so many completions are there to be taken. Where some entries have been taken,
    /// or published for the thread of the ring, a wait that ends before that is no error: there are fewer then. An error
    /// of the ring itself, such as `Denied` or `Revoked`, is told also where entries were published for its thread.
    pub fn submit_and_wait(&mut self, completions: u32, deadline: u64) -> Result<u32, Error> {
        // There is room for what was taken, and it does not count as there to be taken.
        if self.given_back != self.head {
            self.given_back = self.head;
            let head = self.completions.word(CONSUMER_OFFSET + INDEX);
            ring::submission::give_back(head, self.head);
        }
        if self.polled {
            return self.submit_to_thread(completions, deadline);
        }
        let tail = self.submissions.word(PRODUCER_OFFSET + INDEX);
        ring::submission::publish(tail, self.tail);
        self.published = self.tail;
        // SYNC(submission.head)
        let head = self.submissions.word(CONSUMER_OFFSET + INDEX);
        self.taken = head.load(Ordering::Acquire);
        let left = self.tail.wrapping_sub(self.taken);
        // SAFETY: what the entries do was promised when they were written.
        let taken = unsafe { sys::sub_enter(self.handle, left, completions, deadline) }?;
        Ok(taken as u32)
    }

    /// Publishes what was written and leaves it to the thread of the ring.
    fn submit_to_thread(&mut self, completions: u32, deadline: u64) -> Result<u32, Error> {
        let published = self.tail.wrapping_sub(self.published);
        let tail = self.submissions.word(PRODUCER_OFFSET + INDEX);
        let notes = self.submissions.word(NOTES);
        let rests = ring::submission::publish_to_thread(tail, self.tail, notes);
        self.published = self.tail;
        if rests || self.ready() < completions {
            // SAFETY: what the entries do was promised when they were written.
            let waited = unsafe { sys::sub_enter(self.handle, 0, completions, deadline) };
            match waited {
                Err(Error::TimedOut | Error::WouldBlock)
                    if published > 0 && !ring::sabotaged!("published_not_told") => {}
                // For what else the ring is not served is told, whatever was published.
                answer => _ = answer?,
            }
        }
        Ok(published)
    }

    /// Whether the thread of the ring rests, or is about to, so that what is submitted next needs a call.
    pub fn rests(&self) -> bool {
        self.submissions.word(NOTES).load(Ordering::Relaxed) & RESTING != 0
    }

    /// Whether something is to be had by entering, though nothing was submitted.
    pub fn is_due(&self) -> bool {
        self.submissions.word(NOTES).load(Ordering::Relaxed) & DUE != 0
    }

    /// How many completions are there to be taken.
    #[inline(always)]
    pub fn ready(&mut self) -> u32 {
        // SYNC(submission.tail): the completions before it are there.
        let tail = self.completions.word(PRODUCER_OFFSET + INDEX);
        self.posted = tail.load(Ordering::Acquire);
        self.posted.wrapping_sub(self.head)
    }

    /// Takes the next completion, if there is one.
    #[inline(always)]
    pub fn take(&mut self) -> Option<Completion> {
        if self.posted == self.head && self.ready() == 0 {
            return None;
        }
        let words = self.completions.entry::<4>(self.head);
        let word = |at: usize| words[at].load(Ordering::Relaxed);
        let completion = Completion {
            user_data: word(0),
            result: word(1),
            operation: word(2) as u32,
            reserved: 0,
            reserved_after: 0,
        };
        self.head = self.head.wrapping_add(1);
        // Told for several at once: when none is left that is known, or a quarter of the room is free.
        if self.head == self.posted || self.head & (self.completions.mask >> 2) == 0 {
            self.give_back();
        }
        Some(completion)
    }

    /// Tells the kernel that there is room again.
    #[inline(always)]
    fn give_back(&mut self) {
        self.given_back = self.head;
        if self.polled && self.taken != self.published {
            return self.give_back_to_thread();
        }
        let head = self.completions.word(CONSUMER_OFFSET + INDEX);
        ring::submission::give_back(head, self.head);
    }

    /// The same where entries may be left in the ring, for want of room, by a thread that sleeps.
    #[cold]
    fn give_back_to_thread(&mut self) {
        // SYNC(submission.head)
        let taken = self.submissions.word(CONSUMER_OFFSET + INDEX);
        self.taken = taken.load(Ordering::Acquire);
        let head = self.completions.word(CONSUMER_OFFSET + INDEX);
        if self.taken == self.published {
            return ring::submission::give_back(head, self.head);
        }
        let notes = self.submissions.word(NOTES);
        if ring::submission::give_back_to_thread(head, self.head, notes) {
            // SAFETY: what the entries do was promised when they were written. What it fails by is told to who
            // submits or waits next.
            let _ = unsafe { sys::sub_enter(self.handle, 0, 0, 0) };
        }
    }
}

impl Drop for Submissions {
    fn drop(&mut self) {
        let _ = crate::drop_handle(self.handle);
    }
}

/// Registers a handle with all submission rings of this process, in any slot.
pub fn register(handle: Handle) -> Result<Registered, Error> {
    register_at(handle, u64::MAX)
}

/// Registers a handle in a reserved slot.
pub fn register_at(handle: Handle, slot: u64) -> Result<Registered, Error> {
    // SAFETY: the call touches no memory.
    let id = unsafe { sys::sub_register(handle, slot) }?;
    Registered::from_bits(id).ok_or(Error::Unsupported)
}

/// Lets a registered handle go, waiting until the deadline for operations that use it.
pub fn unregister(id: Registered, deadline: u64) -> Result<(), Error> {
    // SAFETY: the call touches no memory.
    unsafe { sys::sub_unregister(id.bits(), deadline) }
}
