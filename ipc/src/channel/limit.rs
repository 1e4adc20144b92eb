//! Rate limits: token buckets in messages and bytes a second, exact in whole numbers.
//!
//! A bucket counts in billionths of a token, so that a nanosecond adds exactly `rate` of them and no
//! remainder is ever dropped: what a bucket has given over any time is at most one second's worth
//! more than the rate allows, and never less than it allows to who asks often enough. 128 bits hold
//! whatever rate and clock come to.

use abi::{Error, Handle, Rights};

use crate::wait::Outcome;
use crate::{Domain, Ipc, Platform};

/// What a token counts for.
const UNIT: u128 = 1_000_000_000;
/// In as many ns any bucket is full.
const SECOND: u64 = 1_000_000_000;

/// One bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bucket {
    /// Tokens a second, and the most that it holds; 0 stands for no limit.
    rate: u64,
    /// What it holds, in billionths of a token.
    level: u128,
}

impl Bucket {
    const UNLIMITED: Bucket = Bucket { rate: 0, level: 0 };

    fn full(rate: u64) -> Bucket {
        Bucket {
            rate,
            level: u128::from(rate) * UNIT,
        }
    }

    fn fill(&mut self, elapsed_ns: u64) {
        let added = u128::from(elapsed_ns.min(SECOND)) * u128::from(self.rate);
        self.level = (self.level + added).min(u128::from(self.rate) * UNIT);
    }

    /// Ns until it holds so many tokens; 0 when it does. `Limit`: it never will.
    fn wait_for(&self, tokens: u64) -> Result<u64, Error> {
        if self.rate == 0 {
            return Ok(0);
        }
        if tokens > self.rate {
            return Err(Error::Limit);
        }
        let missing = (u128::from(tokens) * UNIT).saturating_sub(self.level);
        // At most a second, since a full bucket holds as many.
        Ok(missing.div_ceil(u128::from(self.rate)) as u64)
    }

    fn take(&mut self, tokens: u64) {
        if self.rate > 0 {
            self.level -= u128::from(tokens) * UNIT;
        }
    }

    fn put_back(&mut self, tokens: u64) {
        let most = u128::from(self.rate) * UNIT;
        self.level = (self.level + u128::from(tokens) * UNIT).min(most);
    }
}

/// What may be sent from one end of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    messages: Bucket,
    bytes: Bucket,
    /// When the buckets were filled last.
    filled_ns: u64,
}

impl Limits {
    /// Whatever anybody likes.
    pub const NONE: Limits = Limits {
        messages: Bucket::UNLIMITED,
        bytes: Bucket::UNLIMITED,
        filled_ns: 0,
    };

    /// So many messages and bytes a second, 0 for any number, with one second's worth to begin with.
    pub fn new(messages: u64, bytes: u64, now_ns: u64) -> Limits {
        Limits {
            messages: Bucket::full(messages),
            bytes: Bucket::full(bytes),
            filled_ns: now_ns,
        }
    }

    /// Whether there is none, so that nobody need look at the clock.
    #[inline]
    pub fn is_none(&self) -> bool {
        self.messages.rate | self.bytes.rate == 0
    }

    /// Messages a second; 0 stands for no limit.
    pub fn message_rate(&self) -> u64 {
        self.messages.rate
    }

    /// Bytes a second; 0 stands for no limit.
    pub fn byte_rate(&self) -> u64 {
        self.bytes.rate
    }

    /// Lets a message of so many bytes pass, or tells when it could be tried again. `Limit`: it is
    /// more than one second's worth, and never passes.
    pub fn pass(&mut self, bytes: u64, now_ns: u64) -> Result<Passage, Error> {
        let elapsed = now_ns.saturating_sub(self.filled_ns);
        self.messages.fill(elapsed);
        self.bytes.fill(elapsed);
        self.filled_ns = self.filled_ns.max(now_ns);
        let wait = self.messages.wait_for(1)?.max(self.bytes.wait_for(bytes)?);
        if wait > 0 {
            return Ok(Passage::NotBefore(now_ns.saturating_add(wait)));
        }
        self.messages.take(1);
        self.bytes.take(bytes);
        Ok(Passage::Now)
    }

    /// Takes back that a message passed.
    pub fn put_back(&mut self, bytes: u64) {
        self.messages.put_back(1);
        self.bytes.put_back(bytes);
    }
}

/// Whether a message may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It has.
    Now,
    /// It has not; this is the first time, in ns, at which it could.
    NotBefore(u64),
}

/// What the current task knows of the last message that it tried to send without waiting, in words of its cell, as it
/// does not wait: when that could be tried again if it was over the rate, and 0 if it can never be sent.
impl<P: Platform> Ipc<P> {
    /// It is about to try.
    pub(crate) fn forget_rate(&self) {
        self.note_rate(0);
    }

    /// It was over the rate.
    pub(super) fn note_rate(&self, time_ns: u64) {
        self.platform()
            .with_current_task(|task| P::wait_cell(task).set_words([time_ns]));
    }

    /// When what was `Limit` could be tried again.
    pub(crate) fn rate_allows_at(&self) -> Option<u64> {
        let noted = |task: &P::Task| P::wait_cell(task).word(0);
        let time_ns = self.platform().with_current_task(noted);
        (time_ns > 0).then_some(time_ns)
    }
}

impl<P: Platform> Ipc<P> {
    /// Limits what can be sent from an end; 0 stands for no limit. It begins with one second's worth,
    /// and whoever waits tries again, entries of submission rings too: `WRITABLE` is told.
    pub fn limit_channel(
        &self,
        domain: &Domain<P>,
        end: Handle,
        messages: u64,
        bytes: u64,
    ) -> Result<(), Error> {
        let end = self.channel_end(domain, end, Rights::MANAGE)?;
        let (channel, side) = end.parts()?;
        let inbox = channel.inbox(side.peer());
        {
            let mut inbox = inbox.lock();
            // Nobody waits by it, so that it was given away meanwhile is told as if it had been before.
            end.node.check_allowed(domain.koid(), end.needed)?;
            inbox.limits = Limits::new(messages, bytes, self.platform().now_ns());
        }
        self.end_all_waits(Outcome::Ready, inbox, |inbox| &mut inbox.limited);
        // Entries of submission rings wait for the rate as they do for room.
        self.fire(channel.events(side), abi::Events::WRITABLE, 0);
        Ok(())
    }
}
