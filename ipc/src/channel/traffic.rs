//! What has gone through the ends of a channel.
//!
//! A message counts at the end that it was sent to, and an answer at the end that the call was made by:
//! by whoever answers where it meets the caller, else by the caller when it goes on. A wait counts at the end
//! whose capability it goes by. Invariant: no count ever goes back. Lock rank: Queue, of the inbox that
//! the counts are part of.

use abi::Error;

use super::queue::WORDS_LEN;
use super::reply::{answer, record};
use super::{Channel, ChannelSide, Inbox};
use crate::wait::WaitCell;
use crate::{Counted, Ipc, Node, Platform, Traffic};

/// What a caller slept for.
#[derive(Clone, Copy)]
pub(super) enum Came {
    /// An answer of so many bytes.
    Answer { bytes: u64 },
    /// An answer that it can't take, or word that there will be none.
    Nothing,
    /// What whoever ended its wait has counted, or nobody did: its time was up.
    Counted,
}

impl Came {
    /// What came to the current task, which has this cell and this right to reply.
    pub(super) fn of<P: Platform>(
        cell: &WaitCell<P>,
        right: Option<&Node<P>>,
        slept: Result<(), Error>,
    ) -> Result<Came, Error> {
        match slept {
            Ok(()) => {}
            Err(Error::PeerClosed) => return Ok(Came::Nothing),
            Err(_) => return Ok(Came::Counted),
        }
        let bytes = match cell.word(answer::KIND) {
            answer::MET | answer::MET_BYTES => return Ok(Came::Counted),
            answer::WORDS => WORDS_LEN as u64,
            answer::BYTES => cell.word(answer::LEN),
            answer::MESSAGE => right.map_or(Ok(0), |right| Ok(record(right)?.answer_len()))?,
            _ => return Ok(Came::Nothing),
        };
        Ok(Came::Answer { bytes })
    }
}

impl<P: Platform> Inbox<P> {
    /// Counts an answer of so many bytes, which its caller has.
    #[inline(always)]
    pub(super) fn count_answer(&mut self, bytes: u64) {
        self.answered.count(bytes);
        self.callers.count_wake();
    }

    /// What came to this end.
    fn traffic(&self) -> Traffic {
        let waited = self.ready.traffic() + self.receivers.traffic();
        waited + self.sent.traffic() + self.meeting.served()
    }

    /// What came back from here to the other end, and who waited there for it or for room.
    fn traffic_back(&self) -> Traffic {
        let waited = self.senders.traffic() + self.limited.traffic() + self.callers.traffic();
        waited + self.answered.traffic() + self.meeting.called()
    }
}

impl<P: Platform> Channel<P> {
    /// What came to an end, and who waited there.
    pub(crate) fn traffic(&self, side: ChannelSide) -> Traffic {
        let came = self.inbox(side).lock().traffic();
        came + self.inbox(side.peer()).lock().traffic_back()
    }
}

impl<P: Platform> Ipc<P> {
    /// Counts, where a call went to, what its caller slept for.
    pub(super) fn count_what_came(&self, inbox: &mut Inbox<P>, came: Came) {
        match came {
            Came::Counted => {}
            Came::Nothing => inbox.callers.count_wake(),
            Came::Answer { bytes } => {
                inbox.count_answer(bytes);
                self.platform().count(Counted::Message { bytes });
            }
        }
    }
}
