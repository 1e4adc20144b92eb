//! Channels, calls and replies: what a program wrote is copied in before anything is locked, and what
//! it receives is written before it is taken.

use alloc::sync::Arc;
use core::mem::{MaybeUninit, offset_of};

use abi::limits::{MAX_MESSAGE, MAX_MESSAGE_HANDLES};
use abi::{ChannelEnds, ChannelInfo, Error, Handle, HandleTransfer, Message, UserPtr, Words};
use ipc::{Fit, Outgoing, Preview, Received};

use crate::machine::ipc;
use crate::process::Process;
use crate::user_memory;

/// Room for a copy of a message that a program sends.
struct Room {
    bytes: [MaybeUninit<u8>; MAX_MESSAGE],
    transfers: [MaybeUninit<HandleTransfer>; MAX_MESSAGE_HANDLES],
}

impl Room {
    #[inline(always)]
    const fn new() -> Room {
        Room {
            bytes: [const { MaybeUninit::uninit() }; MAX_MESSAGE],
            transfers: [const { MaybeUninit::uninit() }; MAX_MESSAGE_HANDLES],
        }
    }

    /// Of the address 0 nothing.
    #[inline(always)]
    fn read(&mut self, from: UserPtr<Message>) -> Result<Outgoing<'_>, Error> {
        if from.address() == 0 {
            return Ok(Outgoing::EMPTY);
        }
        let mut message = MaybeUninit::uninit();
        let message = user_memory::read_to(&mut message, from)?;
        let (bytes, transfers) = (message.bytes_len, message.handles_len);
        if bytes > MAX_MESSAGE as u64 || transfers > MAX_MESSAGE_HANDLES as u64 {
            return Err(Error::TooLarge);
        }
        let (bytes, transfers) = (bytes as usize, transfers as usize);
        Ok(Outgoing {
            bytes: user_memory::read_slice(message.bytes, &mut self.bytes[..bytes])?,
            transfers: user_memory::read_slice(message.handles, &mut self.transfers[..transfers])?,
        })
    }
}

/// What of a message is told to who receives it.
const BYTES_LEN: usize = offset_of!(Message, bytes_len);
const HANDLES_LEN: usize = offset_of!(Message, handles_len);
const REPLY: usize = offset_of!(Message, reply);
const BADGE: usize = offset_of!(Message, badge);

/// Where a program wants a message to be.
struct Place<'a> {
    at: UserPtr<Message>,
    /// As the program filled it in.
    wanted: &'a Message,
}

impl<'a> Place<'a> {
    #[inline(always)]
    fn read(at: UserPtr<Message>, room: &'a mut MaybeUninit<Message>) -> Result<Place<'a>, Error> {
        let wanted = user_memory::read_to(room, at)?;
        Ok(Place { at, wanted })
    }

    /// The same of an answer. Of the address 0 it takes nothing.
    #[inline(always)]
    fn read_for_answer(
        at: UserPtr<Message>,
        room: &'a mut MaybeUninit<Message>,
    ) -> Result<Place<'a>, Error> {
        static NOTHING: Message = Message {
            bytes: 0,
            bytes_len: 0,
            handles: 0,
            handles_len: 0,
            reply: Handle::NONE,
            badge: 0,
        };
        match at.address() {
            0 => Ok(Place {
                at,
                wanted: &NOTHING,
            }),
            _ => Place::read(at, room),
        }
    }

    /// Writes what comes, but for the handles, which nobody knows yet: their places are cleared.
    #[inline(always)]
    fn show(&self, preview: &Preview<'_>) -> Result<(), Error> {
        if self.at.address() == 0 {
            return match preview.bytes.is_empty() && preview.handles == 0 {
                true => Ok(()),
                false => Err(Error::TooLarge),
            };
        }
        let (bytes, handles) = (preview.bytes.len() as u64, preview.handles as u64);
        user_memory::write_fields::<Message, BYTES_LEN, HANDLES_LEN, REPLY, BADGE>(
            self.at,
            [bytes, handles, Handle::NONE.bits(), preview.badge],
        )?;
        if bytes > self.wanted.bytes_len || handles > self.wanted.handles_len {
            return Err(Error::TooLarge);
        }
        user_memory::write_slice(self.wanted.bytes, preview.bytes)?;
        match preview.handles {
            0 => Ok(()),
            handles => self.write_handles(&[Handle::NONE; MAX_MESSAGE_HANDLES][..handles]),
        }
    }

    #[inline(always)]
    fn write_handles(&self, handles: &[Handle]) -> Result<(), Error> {
        match handles {
            [handle] => user_memory::write(UserPtr::new(self.wanted.handles), handle),
            _ => user_memory::write_slice(self.wanted.handles, handles),
        }
    }

    /// Tells the handles of what came. If another thread took the memory away in this moment, they
    /// are given back.
    #[inline(always)]
    fn finish(&self, process: &Arc<Process>, received: &Received) -> Result<(), Error> {
        let handles = &received.handles[..received.handles_len];
        let mut told = self.write_handles(handles);
        if told.is_ok() && received.reply != Handle::NONE {
            let reply = self.at.address() + REPLY as u64;
            told = user_memory::write(UserPtr::new(reply), &received.reply);
        }
        if told.is_err() {
            give_back(process, received);
        }
        told
    }

    fn fit(&self) -> Fit {
        Fit::Message {
            bytes: self.wanted.bytes_len,
            handles: self.wanted.handles_len,
        }
    }
}

/// Gives back what nobody learnt of.
#[cold]
fn give_back(process: &Arc<Process>, received: &Received) {
    let handles = &received.handles[..received.handles_len];
    for &handle in handles.iter().chain([&received.reply]) {
        // What was revoked on the way is none.
        let _ = ipc().drop_capability(process.domain(), handle);
    }
}

pub fn channel_create(
    process: &Arc<Process>,
    capacity: u32,
    ends: UserPtr<ChannelEnds>,
) -> Result<(), Error> {
    let domain = process.domain();
    let made = ipc().create_channel(domain, capacity)?;
    user_memory::write(ends, &made).inspect_err(|_| {
        // Nobody learnt of the ends, so nobody else can have touched them.
        let _ = ipc().drop_capability(domain, made.first);
        let _ = ipc().drop_capability(domain, made.second);
    })
}

pub fn channel_send(
    process: &Arc<Process>,
    end: Handle,
    message: UserPtr<Message>,
    deadline: u64,
) -> Result<(), Error> {
    let mut room = Room::new();
    let message = room.read(message)?;
    ipc().send(process.domain(), end, message, deadline)
}

pub fn channel_receive(
    process: &Arc<Process>,
    end: Handle,
    message: UserPtr<Message>,
    deadline: u64,
) -> Result<(), Error> {
    let mut wanted = MaybeUninit::uninit();
    let place = Place::read(message, &mut wanted)?;
    let show = |preview: &Preview<'_>| place.show(preview);
    let received = ipc().receive(process.domain(), end, deadline, show)?;
    place.finish(process, &received)
}

pub fn channel_call(
    process: &Arc<Process>,
    end: Handle,
    request: UserPtr<Message>,
    answer: UserPtr<Message>,
    deadline: u64,
) -> Result<(), Error> {
    let mut room = Room::new();
    let request = room.read(request)?;
    let mut wanted = MaybeUninit::uninit();
    let place = Place::read_for_answer(answer, &mut wanted)?;
    let mut received = None;
    let show = |preview: &Preview<'_>| place.show(preview);
    let (domain, call, fit) = (process.domain(), (end, request), place.fit());
    ipc().call_to(domain, call, fit, deadline, &mut received, show)?;
    match received {
        Some(received) => place.finish(process, &received),
        None => Ok(()),
    }
}

pub fn channel_reply(
    process: &Arc<Process>,
    reply: Handle,
    message: UserPtr<Message>,
) -> Result<(), Error> {
    let mut room = Room::new();
    let message = room.read(message)?;
    ipc().reply(process.domain(), reply, message)
}

pub fn channel_serve(
    process: &Arc<Process>,
    end: Handle,
    reply: Handle,
    answer: UserPtr<Message>,
    request: UserPtr<Message>,
    deadline: u64,
) -> Result<(), Error> {
    let mut room = Room::new();
    let answer = match reply {
        Handle::NONE => Outgoing::EMPTY,
        _ => room.read(answer)?,
    };
    let mut wanted = MaybeUninit::uninit();
    let place = Place::read(request, &mut wanted)?;
    let show = |preview: &Preview<'_>| place.show(preview);
    let mut received = Received::default();
    let (domain, answer) = (process.domain(), (reply, &answer));
    ipc().serve_to(domain, end, answer, deadline, &mut received, show)?;
    place.finish(process, &received)
}

pub fn channel_call_words(
    process: &Arc<Process>,
    end: Handle,
    first: u64,
    second: u64,
    third: u64,
    fourth: u64,
    deadline: u64,
) -> Result<Words, Error> {
    let request = [first, second, third, fourth];
    let words = ipc().call_words(process.domain(), end, request, deadline)?;
    Ok(Words {
        words,
        ..Words::default()
    })
}

pub fn channel_serve_words(
    process: &Arc<Process>,
    end: Handle,
    reply: Handle,
    first: u64,
    second: u64,
    third: u64,
    fourth: u64,
) -> Result<Words, Error> {
    let answer = [first, second, third, fourth];
    ipc().serve_words(process.domain(), end, reply, answer)
}

pub fn channel_reply_words(
    process: &Arc<Process>,
    reply: Handle,
    first: u64,
    second: u64,
    third: u64,
    fourth: u64,
) -> Result<(), Error> {
    let answer = [first, second, third, fourth];
    ipc().reply_words(process.domain(), reply, answer)
}

pub fn channel_limit(
    process: &Arc<Process>,
    end: Handle,
    messages: u64,
    bytes: u64,
) -> Result<(), Error> {
    ipc().limit_channel(process.domain(), end, messages, bytes)
}

pub fn channel_info(
    process: &Arc<Process>,
    end: Handle,
    info: UserPtr<ChannelInfo>,
) -> Result<(), Error> {
    let facts = ipc().channel_info(process.domain(), end)?;
    user_memory::write(info, &facts)
}
