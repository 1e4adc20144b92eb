//! A session with the name service, and what a service that was registered accepts clients by.

use abi::{Error, Events, Handle, Rights};
use ring::sabotaged;

use super::protocol::{
    Answer, MAX_REQUEST, Name, Refusal, Request, decode_answer, decode_introduction,
};
use crate::{ChannelEnd, Message, Notification, Port, channel, now_ns};

/// Messages that a connection queues in each direction.
const CONNECTION: u32 = 8;
/// Clients that can wait to be accepted.
const BACKLOG: u32 = 64;
/// Messages that a session queues. Of more threads that share one the others wait for room.
const SESSION: u32 = 2;
/// How often a look-up makes a fresh channel because whoever registered is younger still.
const ATTEMPTS: usize = 16;
/// How long to wait before asking one who is busy again, in ns.
const BUSY_NS: u64 = 1_000_000;
/// How long to wait for room to take a watch back, in ns. The service never blocks.
const FORGET_NS: u64 = 1_000_000_000;

/// A session with the name service, which threads can share. Every deadline is for the whole operation.
#[derive(Debug)]
pub struct Names {
    session: ChannelEnd,
}

impl Names {
    /// The session that an end is, by custom the handle that a program finds behind its own.
    pub fn new(session: ChannelEnd) -> Names {
        Names { session }
    }

    /// The session that a handle is.
    pub fn from_handle(handle: Handle) -> Names {
        Names::new(ChannelEnd::from_handle(handle))
    }

    /// A new session for somebody else, a child for instance. It ends when its end is dropped.
    pub fn attach(&self, deadline_ns: u64) -> Result<ChannelEnd, Error> {
        let (theirs, end) = channel(SESSION)?;
        self.ask(Request::Attach, Some(end.into()), deadline_ns)?;
        Ok(theirs)
    }

    /// Registers a name, and returns what its clients are accepted by. `Exists`: it is taken.
    pub fn register(&self, name: &str, deadline_ns: u64) -> Result<Listener, Error> {
        let (listener, end) = channel(BACKLOG)?;
        self.register_end(name, end, deadline_ns)?;
        Ok(Listener::new(listener))
    }

    /// Registers a name for whoever receives at the other end of a channel.
    pub fn register_end(&self, name: &str, end: ChannelEnd, deadline_ns: u64) -> Result<(), Error> {
        let request = Request::Register(valid(name)?);
        self.ask(request, Some(end.into()), deadline_ns)?;
        Ok(())
    }

    /// Withdraws a name that this session registered. Clients that are connected stay connected.
    pub fn withdraw(&self, name: &str, deadline_ns: u64) -> Result<(), Error> {
        self.ask(Request::Withdraw(valid(name)?), None, deadline_ns)?;
        Ok(())
    }

    /// Connects to whoever registered a name. `NotFound`: nobody has; `Busy`: too many clients wait.
    /// Whether anybody ever answers is another matter: `PeerClosed` comes when it is certain that
    /// nobody will.
    pub fn look_up(&self, name: &str, deadline_ns: u64) -> Result<ChannelEnd, Error> {
        let request = Request::LookUp(valid(name)?);
        for _ in 0..ATTEMPTS {
            let (mine, theirs) = channel(CONNECTION)?;
            match self.try_ask(request, Some(theirs.into()), deadline_ns)? {
                Ok(_) => return Ok(mine),
                Err(Refusal::Older) => {}
                Err(refusal) => return Err(refusal.into()),
            }
        }
        Err(Error::Busy)
    }

    /// Connects to whoever registered a name, waiting until somebody has. `PeerClosed`: the name service has
    /// ended. Needs WAIT of the session. After the deadline it may wait for room in the session once more, as
    /// long as the service does not come to it and at most a second.
    pub fn connect(&self, name: &str, deadline_ns: u64) -> Result<ChannelEnd, Error> {
        match self.look_up(name, deadline_ns) {
            Err(Error::NotFound | Error::Busy) if !sabotaged!("connect_waits_for_nobody") => {}
            other => return other,
        }
        let appeared = Notification::create()?;
        let news = Port::create()?;
        news.bind(appeared.handle(), Events::SIGNALED, 0)?;
        // A watch does not tell of the end of the service.
        if !sabotaged!("connect_outlives_names") {
            news.bind(self.session.handle(), Events::PEER_CLOSED, 1)?;
        }
        let watch = self.watch(name, &appeared, 1, 0, deadline_ns)?;
        let wait = |until_ns| {
            news.next(until_ns)?;
            appeared.poll().map(drop)
        };
        let connected = loop {
            let waited = match self.look_up(name, deadline_ns) {
                Err(Error::NotFound) => wait(deadline_ns),
                Err(Error::Busy) => match wait(deadline_ns.min(now_ns() + BUSY_NS)) {
                    Err(Error::TimedOut) if now_ns() < deadline_ns => Ok(()),
                    other => other,
                },
                other => break other,
            };
            if let Err(error) = waited {
                break Err(error);
            }
        };
        self.forget(watch);
        connected
    }

    /// Takes a watch back without waiting for the answer: the deadline may be over. Other threads may have
    /// filled the session with their requests, and a watch that stays would count until its end.
    fn forget(&self, watch: u64) {
        if sabotaged!("watch_outlives_connect") {
            return;
        }
        let mut buffer = [0; MAX_REQUEST];
        let request = Request::Unwatch(watch).encode(&mut buffer);
        // Without a service there is no watch, and its answer would be of no use.
        let deadline_ns = now_ns().saturating_add(FORGET_NS);
        let _ = self.session.send(&mut Message::new(request), deadline_ns);
    }

    /// Has bits of a notification set at once if a name is there and whenever it appears, and others
    /// whenever it goes. Returns the number of the watch, which ends with the session. That the service
    /// itself ends is told by the end of the session alone.
    pub fn watch(
        &self,
        name: &str,
        notification: &Notification,
        appeared: u64,
        gone: u64,
        deadline_ns: u64,
    ) -> Result<u64, Error> {
        let name = valid(name)?;
        let rights = Rights::SIGNAL | Rights::GRANT | Rights::DUPLICATE;
        let signal = crate::derive(notification.handle(), rights)?;
        let request = Request::Watch {
            name,
            appeared,
            gone,
        };
        self.ask(request, Some(signal), deadline_ns)
    }

    /// Takes a watch back.
    pub fn unwatch(&self, watch: u64, deadline_ns: u64) -> Result<(), Error> {
        self.ask(Request::Unwatch(watch), None, deadline_ns)?;
        Ok(())
    }

    fn ask(&self, request: Request, with: Option<Handle>, deadline_ns: u64) -> Result<u64, Error> {
        Ok(self.try_ask(request, with, deadline_ns)??)
    }

    fn try_ask(
        &self,
        request: Request,
        with: Option<Handle>,
        deadline_ns: u64,
    ) -> Result<Answer, Error> {
        let mut buffer = [0; MAX_REQUEST];
        let mut message = Message::new(request.encode(&mut buffer));
        if let Some(handle) = with {
            message = message.pass(handle);
        }
        let answer = self.session.call(&mut message, deadline_ns)?;
        let answer = answer.words().and_then(decode_answer);
        answer.ok_or(Error::PeerFault)
    }
}

fn valid(name: &str) -> Result<Name, Error> {
    Name::new(name).ok_or(Error::Invalid)
}

/// Where a service that was registered is sent its clients.
#[derive(Debug)]
pub struct Listener {
    end: ChannelEnd,
}

impl Listener {
    /// The listener at an end whose peer was registered.
    pub fn new(end: ChannelEnd) -> Listener {
        Listener { end }
    }

    /// The end.
    pub fn end(&self) -> &ChannelEnd {
        &self.end
    }

    /// The end of the next client. `PeerClosed`: the name was withdrawn and nobody waits any more.
    /// What is no introduction is left out.
    pub fn accept(&self, deadline_ns: u64) -> Result<ChannelEnd, Error> {
        loop {
            let mut received = self.end.receive(deadline_ns)?;
            if decode_introduction(received.bytes()).is_some()
                && let Some(client) = received.take::<ChannelEnd>(0)
            {
                return Ok(client);
            }
        }
    }
}
