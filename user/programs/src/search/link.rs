//! The rings between the processes of `search`, and what a process does at their ends.

use abi::RingGeometry;
use rt::{
    Error, FOREVER, Handle, PacketReceiver, PacketSender, Region, Rights, RingEnd, Token, to_abi,
};

use super::file::File;
use super::{MAX_MESSAGE, Message};

/// Bytes of a ring: some hundred messages.
const CAPACITY: u32 = 8192;

/// A new ring: the end that sends and the one that receives.
pub fn ring() -> Result<(Handle, Handle), Error> {
    rt::ring_of(&RingGeometry::packet(CAPACITY))
}

/// Where messages go.
pub struct Outlet {
    sender: PacketSender,
}

impl Outlet {
    /// The sending end of a ring.
    pub fn open(end: Handle) -> Result<Outlet, Error> {
        let sender = rt::open_packet_sender(end)?;
        Ok(Outlet { sender })
    }

    /// Sends a message, waiting for room.
    pub fn send(&mut self, message: &Message) -> Result<(), Error> {
        let mut buffer = [0; MAX_MESSAGE];
        let (tag, bytes) = message.encode(&mut buffer);
        self.sender.send(tag, bytes, FOREVER).map_err(to_abi)
    }

    /// Hands a file on to the process at the other end.
    pub fn share(&mut self, file: &File, rights: Rights) -> Result<(), Error> {
        let token = file.region().share(self.sender.handle(), rights)?.bits();
        let len = file.bytes().len() as u64;
        self.send(&Message::File { token, len })
    }
}

/// Where messages come from.
pub struct Inlet {
    receiver: PacketReceiver,
}

impl Inlet {
    /// The receiving end of a ring.
    pub fn open(end: Handle) -> Result<Inlet, Error> {
        let receiver = rt::open_packet_receiver(end)?;
        Ok(Inlet { receiver })
    }

    /// Waits for a message. `PeerClosed`: who sends has ended; `PeerFault`: what came is no message.
    pub fn receive(&mut self) -> Result<Message, Error> {
        let mut bytes = [0; MAX_MESSAGE];
        let received = self.receiver.receive(&mut bytes, FOREVER);
        let (tag, len) = received.map_err(|error| match error {
            // No message is so long.
            ring::Error::TooLarge => Error::PeerFault,
            error => to_abi(error),
        })?;
        Message::decode(tag, &bytes[..len]).ok_or(Error::PeerFault)
    }

    /// The first message: the file.
    pub fn file(&mut self) -> Result<File, Error> {
        let Message::File { token, len } = self.receive()? else {
            return Err(Error::PeerFault);
        };
        let region = rt::accept(Token::from_bits(token), self.receiver.handle())?;
        File::open(Region::from_handle(region), len)
    }
}
