//! What a task has in hand for its calls: the right to reply to it, and the right to answer the call that
//! it was woken with.
//!
//! Lock rank: Waits, for the cell of a task.

use core::fmt;

use abi::Rights;
use mm::lock::{Lock, Rank};

use super::reply::{put, record};
use crate::node::HOME;
use crate::{Ipc, Node, Platform};

/// What a task keeps for calls, beside its [`WaitCell`](crate::WaitCell).
pub struct CallCell<P: Platform>(Lock<Hand<P>>);

/// What a task has in hand.
pub(super) struct Hand<P: Platform> {
    /// The right to reply to it, which its next call sends if it is at home.
    right: Option<Node<P>>,
    /// The right to answer the call that it was woken with the words of.
    handed: Option<Node<P>>,
}

impl<P: Platform> CallCell<P> {
    /// The cell of a task that has not called.
    pub const fn new() -> CallCell<P> {
        CallCell(Lock::new(
            Rank::Waits,
            Hand {
                right: None,
                handed: None,
            },
        ))
    }

    /// The right to reply to its task, if it is at home.
    #[inline(always)]
    pub(super) fn right_at_home(&self) -> Option<Node<P>> {
        let hand = self.0.lock();
        let right = hand.right.as_ref()?;
        if !right.is_plainly_of(HOME) {
            let right = right.clone();
            drop(hand);
            return at_home_if_lent(right);
        }
        if !is_whole(right) {
            right.set_rights(Rights::REPLY);
        }
        Some(right.clone())
    }

    /// The right to reply to its task, wherever it is.
    pub(super) fn right(&self) -> Option<Node<P>> {
        self.0.lock().right.clone()
    }

    /// Keeps another right to reply than before.
    pub(super) fn keep(&self, right: &Node<P>) {
        let lost = self.0.lock().right.replace(right.clone());
        drop(lost);
    }

    /// Hands the right to answer a call to its task, which has none in hand.
    #[inline(always)]
    pub(super) fn hand(&self, right: Node<P>) {
        put(&mut self.0.lock().handed, right);
    }

    /// What its task was handed.
    #[inline(always)]
    pub(super) fn take_handed(&self) -> Option<Node<P>> {
        self.0.lock().handed.take()
    }
}

/// Whether a right to reply allows all that the next call is to send: whoever had it last may allow less.
#[inline(always)]
pub(super) fn is_whole<P: Platform>(right: &Node<P>) -> bool {
    right.rights() == Rights::REPLY || mm::sabotaged!("reply_stays_reduced")
}

/// A right to reply that is at home by ending its loan.
#[cold]
fn at_home_if_lent<P: Platform>(right: Node<P>) -> Option<Node<P>> {
    let ended = record(&right).is_ok_and(|reply| reply.take_home(&right, None));
    ended.then_some(right)
}

impl<P: Platform> Default for CallCell<P> {
    fn default() -> Self {
        CallCell::new()
    }
}

impl<P: Platform> fmt::Debug for CallCell<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallCell").finish_non_exhaustive()
    }
}

impl<P: Platform> Ipc<P> {
    /// Returns what a task kept for calls, and what it was handed and did not live to have. To be
    /// called when a task ends, by itself or when it never ran; with no lock held.
    pub fn end_task(&self, task: &P::Task) {
        let (right, handed) = {
            let mut hand = P::call_cell(task).0.lock();
            (hand.right.take(), hand.handed.take())
        };
        if let Some(right) = &right {
            if let Ok(reply) = record(right) {
                if !mm::sabotaged!("lent_right_outlives_its_task") {
                    reply.take_home(right, None);
                }
                reply.give_up();
            }
            // Where else it is, it answers nothing any more.
            if right.is_plainly_of(HOME) {
                self.lose(right);
            }
        }
        if let Some(right) = handed {
            self.lose(&right);
        }
    }
}
