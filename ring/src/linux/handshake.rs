//! How two processes agree on a ring: one offers, the other answers, each in one message with one file.
//!
//! A message is sixteen words and the file with the pages that its sender writes. Both are checked here, before anything
//! is mapped or made of them. An offer of a duplex brings a socket besides, over which the ring of the other direction is
//! offered in the same way.

use core::mem::MaybeUninit;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::vec::Vec;

use abi::ring::{End, Form, Geometry, Kind, VERSION};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use rustix::time::Timespec;

use super::remote::Sleeper;
use super::{Error, Fault, MAX_DATA_BYTES};

/// First word of an offer: "HOro" in memory.
const OFFER: u32 = u32::from_le_bytes(*b"HOro");
/// First word of an answer: "HOra" in memory.
const ANSWER: u32 = u32::from_le_bytes(*b"HOra");

/// First word of an offer with which another comes: "HOrd" in memory.
const DUPLEX: u32 = u32::from_le_bytes(*b"HOrd");

const WORDS: usize = 16;
const BYTES: usize = WORDS * size_of::<u32>();

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) geometry: Geometry,
    /// In an offer, whether the sender can do without fences; in an answer, what it is going to be.
    pub(super) form: Form,
    pub(super) start: u32,
    pub(super) epoch: u32,
    /// The end that the sender takes.
    pub(super) end: End,
    /// How the sender is woken.
    pub(super) sleeper: Sleeper,
}

/// Which message it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Offer,
    Duplex,
    Answer,
}

impl Step {
    fn magic(self) -> u32 {
        match self {
            Self::Offer => OFFER,
            Self::Duplex => DUPLEX,
            Self::Answer => ANSWER,
        }
    }
}

impl Terms {
    fn encode(&self, step: Step) -> [u8; BYTES] {
        let words = [
            step.magic(),
            VERSION,
            self.geometry.kind as u32,
            self.form as u32,
            self.geometry.slot_size,
            self.geometry.capacity,
            self.start,
            self.epoch,
            self.end as u32,
            self.sleeper as u32,
        ];
        let mut bytes = [0; BYTES];
        for (target, word) in bytes.chunks_exact_mut(4).zip(words) {
            target.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8], step: Step) -> Result<Self, Fault> {
        let bytes: &[u8; BYTES] = bytes.try_into().map_err(|_| Fault::Message)?;
        let mut words = [0; WORDS];
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        let [
            magic,
            version,
            kind,
            form,
            slot_size,
            capacity,
            start,
            epoch,
            end,
            sleeper,
            reserved @ ..,
        ] = words;
        if magic != step.magic() {
            return Err(Fault::Message);
        }
        if version != VERSION {
            return Err(Fault::Version);
        }
        if reserved != [0; 6] {
            return Err(Fault::Reserved);
        }
        let geometry = Geometry {
            kind: Kind::from_raw(kind).ok_or(Fault::Geometry)?,
            slot_size,
            capacity,
        };
        if geometry.check().is_err() || geometry.data_bytes() > MAX_DATA_BYTES {
            return Err(Fault::Geometry);
        }
        if !geometry.allows_start(start) {
            return Err(Fault::Terms);
        }
        let end = match end {
            0 => End::Producer,
            1 => End::Consumer,
            _ => return Err(Fault::Terms),
        };
        Ok(Self {
            geometry,
            form: Form::from_raw(form).ok_or(Fault::Form)?,
            start,
            epoch,
            end,
            sleeper: Sleeper::from_raw(sleeper).ok_or(Fault::Terms)?,
        })
    }

    /// Whether `answer` is one to this offer.
    pub(super) fn check_answer(&self, answer: &Self) -> Result<(), Error> {
        if answer.geometry != self.geometry {
            return Err(Fault::Geometry.into());
        }
        if answer.form == Form::Asymmetric && self.form == Form::Symmetric {
            return Err(Fault::Form.into());
        }
        if answer.start != self.start || answer.epoch != self.epoch || answer.end != self.end.peer()
        {
            return Err(Fault::Terms.into());
        }
        Ok(())
    }
}

/// The most that comes along with a message.
const MOST_FILES: usize = 2;

/// Sends a message with the file of its sender, and what else belongs to it.
pub(super) fn send(
    socket: &OwnedFd,
    step: Step,
    terms: &Terms,
    files: &[BorrowedFd<'_>],
) -> Result<(), Error> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FILES))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(Errno::NOBUFS.into());
    }
    let bytes = terms.encode(step);
    // It is the first message in its direction, so there is room for it.
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    match rustix::net::sendmsg(socket, &[IoSlice::new(&bytes)], &mut ancillary, flags) {
        Ok(_) => Ok(()),
        Err(Errno::PIPE | Errno::CONNRESET) => Err(Error::PeerClosed),
        Err(error) => Err(error.into()),
    }
}

/// Receives a message and the files that came with it, so many; neither is believed, and the files are not looked at yet.
///
/// # Errors
/// That this process may have no more files is no fault of the peer, and told as the system tells it elsewhere: `EMFILE`.
pub(super) fn receive<const FILES: usize>(
    socket: &OwnedFd,
    step: Step,
    deadline_ns: u64,
) -> Result<(Terms, [OwnedFd; FILES]), Error> {
    // One byte and one file more than there should be, to notice them; and who the peer is, which comes first over a socket
    // whose maker has asked for it.
    let mut bytes = [0; BYTES + 1];
    let mut space =
        [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1), ScmRights(MOST_FILES + 1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let (count, flags) = loop {
        wait_readable(socket, deadline_ns)?;
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let mut slices = [IoSliceMut::new(&mut bytes)];
        match rustix::net::recvmsg(socket, &mut slices, &mut ancillary, flags) {
            Ok(message) => break (message.bytes, message.flags),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(Errno::CONNRESET) => return Err(Error::PeerClosed),
            Err(error) => return Err(error.into()),
        }
    };
    // Whatever came along is closed on every way out.
    let mut files = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            files.extend(received);
        }
    }
    if count == 0 {
        return Err(Error::PeerClosed);
    }
    let terms = Terms::decode(bytes.get(..count).unwrap_or_default(), step)?;
    // There was room for them: the system could not give them to this process, and says only that something is missing.
    let withheld = flags.contains(ReturnFlags::CTRUNC) && files.len() < FILES;
    if withheld && !crate::sabotaged!("linux_withheld_files_blamed_on_peer") {
        return Err(Errno::MFILE.into());
    }
    match files.try_into() {
        Ok(files) => Ok((terms, files)),
        Err(_) => Err(Fault::Files.into()),
    }
}

/// Waits until something can be read, or the peer has hung up.
pub(super) fn wait_readable(socket: &OwnedFd, deadline_ns: u64) -> Result<(), Error> {
    loop {
        let left_ns = deadline_ns.saturating_sub(super::now_ns());
        let left = Timespec {
            tv_sec: (left_ns / 1_000_000_000) as i64,
            tv_nsec: (left_ns % 1_000_000_000) as _,
        };
        let limit = (deadline_ns != u64::MAX).then_some(&left);
        let mut sockets = [PollFd::new(socket, PollFlags::IN)];
        match poll(&mut sockets, limit) {
            Ok(0) => return Err(Error::TimedOut),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
