//! Running entries that were taken: each is done, or left waiting, and completed. The platform is told of each if it
//! watches them; while it does not, an entry costs one look more.
//!
//! A chain is run by who takes it or by who looks at what is due, both from outside of any entry. No entry runs
//! another: what one ends is left due, or ends without going on. So the stack that an entry needs is bounded, whatever
//! is linked to what.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;

use abi::submission::{Operation, Submission};
use abi::{Error, Handle};

use super::operations::{Step, Waiting};
use super::pending::Pending;
use super::serve::Server;
use crate::{Counted, Platform};

impl<P: Platform, F> Server<'_, P, F>
where
    F: Fn(Operation, [u64; 6]) -> Result<u64, Error>,
{
    /// Runs entries for which cells are kept, one after the other until one fails or waits.
    pub(super) fn run_chain(&mut self, mut chain: &[Submission]) {
        while let Some((entry, rest)) = chain.split_first() {
            if !self.run(entry, rest) {
                break;
            }
            chain = rest;
        }
    }

    /// Runs an entry, with the rest of its chain behind it. False: the rest is not to be run now.
    #[inline(always)]
    pub(super) fn run(&mut self, entry: &Submission, rest: &[Submission]) -> bool {
        match self.watched {
            false => self.run_one::<false>(entry, rest),
            true => self.run_watched(entry, rest),
        }
    }

    #[cold]
    #[inline(never)]
    fn run_watched(&mut self, entry: &Submission, rest: &[Submission]) -> bool {
        self.run_one::<true>(entry, rest)
    }

    /// The same where it is known whether entries are `WATCHED`.
    #[inline(always)]
    fn run_one<const WATCHED: bool>(&mut self, entry: &Submission, rest: &[Submission]) -> bool {
        match self.start(entry) {
            Step::Done(outcome) => self.settle::<WATCHED>(entry, outcome, rest),
            Step::Waits(waiting) => match self.leave_waiting(&waiting, rest) {
                None => false,
                Some(outcome) => self.settle::<WATCHED>(&waiting.entry, outcome, rest),
            },
        }
    }

    /// Has an operation wait; what it comes to if it can't, or need not any more. It is told of what happens before it
    /// is tried once more, so nothing that it waits for comes unseen in between.
    #[inline(never)]
    fn leave_waiting(
        &mut self,
        waiting: &Waiting,
        rest: &[Submission],
    ) -> Option<Result<u64, Error>> {
        let (operation, entry) = (waiting.operation, waiting.entry);
        match self.suspend(waiting, rest) {
            Ok(key) if mm::sabotaged!("wait_without_second_try") => {
                if let Some(pending) = &self.desk.pending[key as usize] {
                    pending.go_on(self.ipc, None);
                }
                None
            }
            Ok(key) => {
                let outcome = self.try_again(key)?;
                let (_, outcome, _) = self.end_pending(key, outcome)?;
                Some(outcome)
            }
            Err(error) => {
                if let Some(slot) = waiting.registered {
                    self.ipc.leave_registered(self.ring, slot);
                }
                let outcome = self.ipc.give_up(self.ring, operation, &entry, error);
                self.count_refusal(operation, &entry, outcome);
                Some(outcome)
            }
        }
    }

    /// Completes an entry. False: it has failed, and the rest of its chain is cancelled.
    #[inline(always)]
    fn settle<const WATCHED: bool>(
        &mut self,
        entry: &Submission,
        outcome: Result<u64, Error>,
        rest: &[Submission],
    ) -> bool {
        self.complete::<WATCHED>(entry, outcome);
        if outcome.is_err() && !rest.is_empty() && !mm::sabotaged!("link_goes_on") {
            self.cancel_rest(rest);
            return false;
        }
        true
    }

    #[inline(always)]
    pub(super) fn complete<const WATCHED: bool>(
        &mut self,
        entry: &Submission,
        outcome: Result<u64, Error>,
    ) {
        let machine = self.ipc.platform();
        if WATCHED && self.watched {
            if !mem::take(&mut self.begun) && !mm::sabotaged!("refused_entry_not_told") {
                machine.entry_begins(entry);
            }
            machine.entry_ends(entry, outcome);
        }
        self.desk.complete(self.ring, machine, entry, outcome);
    }

    /// Counts that what an entry asked for by a call is refused, once that is what it comes to: for the system, and at
    /// the object that it named.
    #[inline(always)]
    pub(super) fn count_refusal(
        &self,
        operation: Operation,
        entry: &Submission,
        outcome: Result<u64, Error>,
    ) {
        if let Err(error) = outcome {
            self.refused(operation, entry, error);
        }
    }

    #[cold]
    fn refused(&self, operation: Operation, entry: &Submission, error: Error) {
        if matches!(operation, Operation::Timeout | Operation::Cancel) {
            return;
        }
        self.ipc.platform().count(Counted::Refused(error));
        if operation.begins_with_handle() {
            let handle = Handle::from_bits(entry.arguments[0]);
            self.ipc.count_refusal(self.domain, handle, error);
        }
    }

    pub(super) fn cancel_rest(&mut self, rest: &[Submission]) {
        for entry in rest {
            self.complete::<true>(entry, Err(Error::Cancelled));
        }
    }

    /// Looks at an operation that waits. If it does not wait on, it is completed and its chain goes on. Called by who
    /// looks at what is due, which no entry does: so a chain runs in no other. Returns how many entries that was about.
    pub(super) fn look_at(&mut self, key: u32) -> u32 {
        match self.try_again(key) {
            Some(outcome) => self.finish(key, outcome),
            None => 1,
        }
    }

    fn finish(&mut self, key: u32, outcome: Result<u64, Error>) -> u32 {
        let Some((entry, outcome, rest)) = self.end_pending(key, outcome) else {
            return 0;
        };
        if self.settle::<true>(&entry, outcome, &rest) {
            self.run_chain(&rest);
        }
        1 + rest.len() as u32
    }

    /// Ends an operation that waits, and its chain with it. False: it is done by now and is due, and who looks at it
    /// goes on with its chain, as that must not run within the entry that cancels.
    pub(super) fn cancel_one(&mut self, key: u32) -> bool {
        let Some(pending) = &self.desk.pending[key as usize] else {
            return false;
        };
        if mm::sabotaged!("cancel_runs_chain") {
            self.finish(key, Err(Error::Cancelled));
            return true;
        }
        let (operation, entry) = (pending.operation, pending.entry);
        let given_up = self
            .ipc
            .give_up(self.ring, operation, &entry, Error::Cancelled);
        if given_up.is_ok() {
            return false;
        }
        let Some(pending) = self.take_pending(key) else {
            return false;
        };
        self.count_refusal(operation, &entry, given_up);
        let rest = self.ipc.let_go(self.ring, *pending);
        self.complete::<true>(&entry, given_up);
        self.cancel_rest(&rest);
        true
    }

    /// An operation that waited comes to something. Returns its entry, what to, and the rest of its chain.
    fn end_pending(
        &mut self,
        key: u32,
        outcome: Result<u64, Error>,
    ) -> Option<(Submission, Result<u64, Error>, Vec<Submission>)> {
        let pending = self.take_pending(key)?;
        let (operation, entry) = (pending.operation, pending.entry);
        let give_up = |error| self.ipc.give_up(self.ring, operation, &entry, error);
        let outcome = outcome.or_else(give_up);
        self.count_refusal(operation, &entry, outcome);
        Some((entry, outcome, self.ipc.let_go(self.ring, *pending)))
    }

    fn take_pending(&mut self, key: u32) -> Option<Box<Pending<P>>> {
        let pending = self.desk.pending[key as usize].take()?;
        self.desk.free.push(key);
        Some(pending)
    }
}
