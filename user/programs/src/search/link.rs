//! The rings between the processes of `search`, and what a process does at their ends.

use rt::{Error, FOREVER, Handle, Receiver, Region, Rights, Sender, Token, to_abi};

use super::file::File;
use super::{MAX_MESSAGE, Message};

/// Bytes of a slot, and slots.
const SLOT_SIZE: u32 = 64;
const SLOTS: u32 = 64;
/// Bytes of a tag.
const TAG: usize = 4;

/// A new ring: the end that sends and the one that receives.
pub fn ring() -> Result<(Handle, Handle), Error> {
    rt::ring(SLOT_SIZE, SLOTS)
}

/// Where messages go.
pub struct Outlet {
    end: Handle,
    sender: Sender,
}

impl Outlet {
    /// The sending end of a ring.
    pub fn open(end: Handle) -> Result<Outlet, Error> {
        let sender = rt::open_sender(end)?;
        Ok(Outlet { end, sender })
    }

    /// Sends a message, waiting for room.
    pub fn send(&mut self, message: &Message) -> Result<(), Error> {
        let mut buffer = [0; MAX_MESSAGE];
        let (tag, bytes) = message.encode(&mut buffer);
        let mut record = [0; TAG + MAX_MESSAGE];
        let len = TAG + bytes.len();
        record[..TAG].copy_from_slice(&tag.to_le_bytes());
        record[TAG..len].copy_from_slice(bytes);
        self.sender.send(&record[..len], FOREVER).map_err(to_abi)
    }

    /// Hands a file on to the process at the other end.
    pub fn share(&mut self, file: &File, rights: Rights) -> Result<(), Error> {
        let token = file.region().share(self.end, rights)?.bits();
        let len = file.bytes().len() as u64;
        self.send(&Message::File { token, len })
    }
}

/// Where messages come from.
pub struct Inlet {
    end: Handle,
    receiver: Receiver,
}

impl Inlet {
    /// The receiving end of a ring.
    pub fn open(end: Handle) -> Result<Inlet, Error> {
        let receiver = rt::open_receiver(end)?;
        Ok(Inlet { end, receiver })
    }

    /// Waits for a message. `PeerClosed`: who sends has ended; `PeerFault`: what came is no message.
    pub fn receive(&mut self) -> Result<Message, Error> {
        let mut record = [0; TAG + MAX_MESSAGE];
        let received = self.receiver.receive(&mut record, FOREVER);
        let len = received.map_err(to_abi)?;
        let (tag, bytes) = record[..len].split_first_chunk().ok_or(Error::PeerFault)?;
        Message::decode(u32::from_le_bytes(*tag), bytes).ok_or(Error::PeerFault)
    }

    /// The first message: the file.
    pub fn file(&mut self) -> Result<File, Error> {
        let Message::File { token, len } = self.receive()? else {
            return Err(Error::PeerFault);
        };
        let region = rt::accept(Token::from_bits(token), self.end)?;
        File::open(Region::from_handle(region), len)
    }
}
