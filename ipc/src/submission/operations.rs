//! What an entry asks for is done: by the system call of its number, or here if it makes sense in a ring
//! alone.

use abi::submission::{Operation, Registered, Submission, SubmissionFlags};
use abi::{Error, FOREVER, Handle};

use super::STEPS;
use super::serve::Server;
use crate::Platform;

/// What came of trying an operation.
pub(super) struct Attempt {
    pub(super) outcome: Result<u64, Error>,
    /// Its deadline, if it has one.
    deadline_ns: u64,
    /// When it can be tried again, if that is known: a message that is over the rate of its end.
    pub(super) again_ns: Option<u64>,
}

impl Attempt {
    /// One of which no more is to be told.
    pub(super) fn of(outcome: Result<(), Error>) -> Attempt {
        Attempt {
            outcome: outcome.map(|()| 0),
            deadline_ns: FOREVER,
            again_ns: None,
        }
    }

    /// Whether it may come to something later.
    pub(super) fn is_too_early(&self) -> bool {
        match self.outcome {
            Err(Error::WouldBlock | Error::Full) => true,
            Err(Error::Limit) => {
                self.again_ns.is_some() && !mm::sabotaged!("entry_over_the_rate_does_not_wait")
            }
            _ => false,
        }
    }
}

/// What became of an entry that was begun.
pub(super) enum Step {
    Done(Result<u64, Error>),
    Waits(Waiting),
}

/// An operation that can't be done now, and may wait.
pub(super) struct Waiting {
    /// With the handles that its calls take.
    pub(super) entry: Submission,
    pub(super) operation: Operation,
    pub(super) deadline_ns: u64,
    pub(super) registered: Option<u16>,
}

impl<P: Platform, F> Server<'_, P, F>
where
    F: Fn(Operation, [u64; 6]) -> Result<u64, Error>,
{
    /// Does what a copied entry asks for, as far as it can be done without waiting.
    #[inline(always)]
    pub(super) fn start(&mut self, entry: &Submission) -> Step {
        match entry.decode() {
            Ok((Operation::Nop, _)) => Step::Done(Ok(0)),
            Ok((operation, flags)) => self.start_call(entry, operation, flags),
            Err(error) => Step::Done(Err(error)),
        }
    }

    #[inline(never)]
    fn start_call(
        &mut self,
        entry: &Submission,
        operation: Operation,
        flags: SubmissionFlags,
    ) -> Step {
        let mut entry = *entry;
        if mm::sabotaged!("entry_read_twice") {
            let (ring, machine) = (self.ring, self.ipc.platform());
            let mut before = ring.submissions.capacity();
            while before > 0 {
                let again = ring
                    .submissions
                    .entry(machine, self.desk.head.wrapping_sub(before));
                if again.user_data == entry.user_data {
                    entry.arguments = again.arguments;
                }
                before -= 1;
            }
        }
        let registered = match self.resolve(&mut entry, flags) {
            Ok(registered) => registered,
            Err(error) => return Step::Done(Err(error)),
        };
        let attempt = self.attempt(operation, &entry);
        let Attempt {
            outcome,
            deadline_ns,
            ..
        } = attempt;
        let may_wait = operation.deadline_argument().is_some() && deadline_ns != 0;
        if may_wait && attempt.is_too_early() {
            if mm::sabotaged!("entry_counts_as_refused_at_each_try") {
                self.count_refusal(operation, &entry, outcome);
            }
            self.begun = false;
            // Two registered handles are of a copy, which does not wait.
            let [first, _] = registered;
            return Step::Waits(Waiting {
                entry,
                operation,
                deadline_ns,
                registered: first,
            });
        }
        self.count_refusal(operation, &entry, outcome);
        self.leave_all(registered);
        Step::Done(outcome)
    }

    fn leave_all(&self, registered: [Option<u16>; 2]) {
        for slot in registered.into_iter().flatten() {
            self.ipc.leave_registered(self.ring, slot);
        }
    }

    /// Does an operation if it need not wait.
    pub(super) fn attempt(&mut self, operation: Operation, entry: &Submission) -> Attempt {
        if self.watched {
            let machine = self.ipc.platform();
            machine.entry_begins(entry);
            // It may complete others before itself.
            self.begun = operation != Operation::Cancel;
        }
        let mut arguments = entry.arguments;
        let now_ns = || self.ipc.platform().now_ns();
        let deadline_ns = match operation.deadline_argument() {
            Some(at) => core::mem::replace(&mut arguments[at], 0),
            None => FOREVER,
        };
        if operation == Operation::Send {
            self.ipc.forget_rate();
        }
        let outcome = match operation {
            Operation::Timeout if now_ns() >= deadline_ns => Ok(0),
            Operation::Timeout => Err(Error::WouldBlock),
            Operation::Cancel => self.cancel(arguments[0]),
            Operation::Unregister => self.unregister(arguments[0], deadline_ns),
            Operation::Copy => self.copy(arguments),
            operation => (self.operate)(operation, arguments),
        };
        let again_ns = match (operation, outcome) {
            (Operation::Send, Err(Error::Limit)) => self.ipc.rate_allows_at(),
            _ => None,
        };
        Attempt {
            outcome,
            deadline_ns,
            again_ns,
        }
    }

    /// Puts the handles that are registered in the place of their numbers; which slots it uses from then on.
    fn resolve(
        &self,
        entry: &mut Submission,
        flags: SubmissionFlags,
    ) -> Result<[Option<u16>; 2], Error> {
        let mut used = [None; 2];
        if !flags.intersects(SubmissionFlags::REGISTERED | SubmissionFlags::REGISTERED_SOURCE) {
            return Ok(used);
        }
        let both = [
            (SubmissionFlags::REGISTERED, 0),
            (SubmissionFlags::REGISTERED_SOURCE, 2),
        ];
        for (used_at, (flag, at)) in both.into_iter().enumerate() {
            if !flags.contains(flag) {
                continue;
            }
            let number = entry.arguments[at];
            let found = Registered::from_bits(number).ok_or(Error::NotFound);
            let entered = found.and_then(|id| {
                let handle = self.ring.known.lock().enter(id)?;
                Ok((id.slot(), handle))
            });
            match entered {
                Ok((slot, handle)) => {
                    used[used_at] = Some(slot);
                    entry.arguments[at] = handle.bits();
                }
                Err(error) => {
                    if !mm::sabotaged!("second_number_keeps_first") {
                        self.leave_all(used);
                    }
                    return Err(error);
                }
            }
        }
        Ok(used)
    }

    /// Copies all that is asked for, a piece at a time.
    fn copy(&mut self, arguments: [u64; 6]) -> Result<u64, Error> {
        let [region, mut offset, source, mut source_offset, len, _] = arguments;
        let (region, source) = (Handle::from_bits(region), Handle::from_bits(source));
        let mut left = len;
        loop {
            let piece = [region.bits(), offset, source.bits(), source_offset, left, 0];
            let done = (self.operate)(Operation::Copy, piece)?;
            left = left.saturating_sub(done);
            if left == 0 || done == 0 {
                return Ok(len - left);
            }
            offset += done;
            source_offset += done;
            if self.pause() && !mm::sabotaged!("end_of_task_ends_no_entry") {
                return Err(Error::Interrupted);
            }
        }
    }

    /// Ends all operations that wait under a number. `NotFound`: none does, or what they wait for has come.
    fn cancel(&mut self, user_data: u64) -> Result<u64, Error> {
        let mut count = 0;
        for key in 0..self.desk.pending.len() {
            let place = &self.desk.pending[key];
            let found = place
                .as_ref()
                .is_some_and(|pending| pending.entry.user_data == user_data);
            if found && self.cancel_one(key as u32) {
                count += 1;
            }
            let gives_way = key % STEPS == STEPS - 1 && !mm::sabotaged!("due_in_one_slice");
            let ends = gives_way && self.pause();
            if ends && !mm::sabotaged!("end_of_task_ends_no_entry") {
                return Err(Error::Interrupted);
            }
        }
        match count {
            0 => Err(Error::NotFound),
            count => Ok(count),
        }
    }
}
