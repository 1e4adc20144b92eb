//! How a client finds the server, and asks it.

use alloc::vec;
use alloc::vec::Vec;

use rt::hub::{Guest, Patience, Payloads};
use rt::names::Names;
use rt::{ChannelEnd, Error, FOREVER, Message, to_abi};

use super::{Answer, MAX_ANSWER, MESSAGE, NAME, Request, Tag};

/// How long to wait before knocking again at a server that has no seat, in ns.
const NO_SEAT_NS: u64 = 1_000_000;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The server is gone, or on its way; there may be another one soon.
    Server,
    /// So is the name service, or this process can't go on.
    All(Error),
}

/// A client with an account, as long as its server lives.
#[derive(Debug)]
pub struct Member {
    guest: Guest,
    payloads: Payloads,
}

impl Member {
    /// Finds the server by its name, gets a seat at its hub, and names the account there.
    ///
    /// # Errors
    /// As of [`Lost`].
    pub fn join(names: &Names, account: u32) -> Result<Member, Lost> {
        let door = names.connect(NAME, FOREVER).map_err(Lost::All)?;
        Member::enter(&door, account)
    }

    /// The same at the end of a channel to the server.
    fn enter(door: &ChannelEnd, account: u32) -> Result<Member, Lost> {
        let guest = take_seat(door)?;
        let payloads = Payloads::of_guest(guest.via(), MESSAGE);
        let mut member = Member { guest, payloads };
        member.ask(Tag::Hello, &account.to_le_bytes())?;
        Ok(member)
    }

    /// Has a request done, and returns the answer to it, to be decoded.
    ///
    /// # Errors
    /// As of [`Lost`].
    pub fn request(&mut self, request: &Request<'_>) -> Result<Vec<u8>, Lost> {
        let bytes = request.encode().ok_or(Lost::All(Error::Invalid))?;
        self.ask(Tag::Request, &bytes)
    }

    fn ask(&mut self, tag: Tag, bytes: &[u8]) -> Result<Vec<u8>, Lost> {
        let Member { guest, payloads } = self;
        let mut send =
            |message: &[u8], patience: Patience| guest.send(message, patience.until(FOREVER));
        payloads.send(tag as u32, bytes, &mut send).map_err(lost)?;
        loop {
            let mut message = [0; MESSAGE];
            let len = guest.receive(&mut message, FOREVER);
            let len = len.map_err(|error| lost(to_abi(error)))?;
            // Some are for the payloads alone.
            let Some(received) = payloads.receive(&message[..len]).map_err(lost)? else {
                continue;
            };
            if received.tag != tag as u32 || received.len() > MAX_ANSWER as u64 {
                return Err(Lost::All(Error::PeerFault));
            }
            let mut answer = vec![0; received.len() as usize];
            payloads.read(&received, 0, &mut answer).map_err(lost)?;
            let mut send =
                |message: &[u8], patience: Patience| guest.send(message, patience.until(FOREVER));
            let finished = payloads.finish(received, &mut send);
            finished.map_err(|refused| lost(refused.into()))?;
            return Ok(answer);
        }
    }
}

/// Has the server end, which has to be there before a deadline, and waits until its name is gone: one that
/// has answered may be killed before it has exited in order, and is started again.
///
/// # Errors
/// The name service is gone, or this process can't go on. `TimedOut`.
pub fn finish(names: &Names, account: u32, deadline_ns: u64) -> Result<(), Error> {
    let mut door = names.connect(NAME, deadline_ns)?;
    loop {
        let answer =
            Member::enter(&door, account).and_then(|mut member| member.ask(Tag::Finish, &[]));
        match answer.map(|answer| Answer::decode(&answer) == Some(Answer::Done)) {
            Ok(true) | Err(Lost::Server) => {}
            Ok(false) => return Err(Error::PeerFault),
            Err(Lost::All(error)) => return Err(error),
        }
        door = match names.look_up(NAME, FOREVER) {
            Ok(door) => door,
            Err(Error::NotFound) => return Ok(()),
            // Nobody takes in those who come.
            Err(Error::Busy) => names.connect(NAME, deadline_ns)?,
            Err(error) => return Err(error),
        };
    }
}

/// What the server answers who knocks: a membership, with the tenancy to claim.
fn take_seat(door: &ChannelEnd) -> Result<Guest, Lost> {
    let knock = door.call(&mut Message::new(&[]), FOREVER);
    let mut received = knock.map_err(lost)?;
    let epoch = received.bytes().try_into().map(u32::from_le_bytes);
    let (Ok(epoch), [_]) = (epoch, received.handles()) else {
        // There is no seat now.
        let slept = rt::sleep_until(rt::now_ns() + NO_SEAT_NS);
        return Err(slept.map_or_else(Lost::All, |()| Lost::Server));
    };
    Guest::claim(received.take_handle(0), epoch).map_err(lost)
}

/// What has become of the server when something fails that has to do with it. What it had begun to hand
/// over when it ended can't be accepted any more, and looks like a lie.
fn lost(error: Error) -> Lost {
    match error {
        Error::NoMemory | Error::Quota | Error::Limit => Lost::All(error),
        _ => Lost::Server,
    }
}
