//! The name service. What it answers is described in `rt::names::protocol`, what it knows in
//! `programs::names`; here are the ends and the port.
//!
//! Handle: the first session. It ends when the last session is closed.

#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::collections::BTreeMap;
use core::ops::ControlFlow;

use programs::names::{Name, Refusal, Registry, Tell};
use programs::{expect, expect_handles};
use rt::names::protocol::{Answer, MAX_REQUEST, Request, encode_answer, encode_introduction};
use rt::names::{Ends, KeptEnd};
use rt::{
    ChannelEnd, Env, Error, Events, FOREVER, Message, Notification, ObjectKind, Port, Received,
};

rt::entry!(run);

fn run(env: &Env) -> u8 {
    expect_handles(
        env,
        &[ObjectKind::ChannelEnd],
        "init starts it for every program",
    );
    let root = ChannelEnd::from_handle(env.handle(0));
    let mut names = expect!(Names::new(root), "names: a port");
    loop {
        let served = names.serve_one();
        expect!(served, "names: waiting");
        if names.sessions.is_empty() {
            return 0;
        }
    }
}

/// A watcher, told by the bits of its notification.
struct Watcher(Notification);

impl Tell for Watcher {
    fn tell(&self, bits: u64) -> ControlFlow<()> {
        match self.0.signal(bits) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

type Known = Registry<KeptEnd, Watcher>;

struct Names {
    port: Port,
    known: Known,
    /// By their numbers, which are also their keys at the port, as those of registrations are.
    sessions: BTreeMap<u64, KeptEnd>,
    ends: Ends,
}

impl Names {
    fn new(root: ChannelEnd) -> Result<Names, Error> {
        let mut names = Names {
            port: Port::create()?,
            known: Registry::new(),
            sessions: BTreeMap::new(),
            ends: Ends::new(),
        };
        let root = names.ends.keep(root)?;
        names.open(Known::ROOT, root)?;
        Ok(names)
    }

    fn open(&mut self, session: u64, end: KeptEnd) -> Result<(), Error> {
        let events = Events::READABLE | Events::PEER_CLOSED;
        self.port.bind(end.handle(), events, session)?;
        self.sessions.insert(session, end);
        Ok(())
    }

    fn close(&mut self, session: u64) {
        // The bindings go with the ends.
        self.sessions.remove(&session);
        self.known.close(session);
    }

    /// Waits for one event and does what it asks for. Nothing that a client does is an error here.
    fn serve_one(&mut self) -> Result<(), Error> {
        let key = self.port.next(FOREVER)?.key;
        let Some(end) = self.sessions.get(&key) else {
            // An end that was registered, and where nobody receives any more.
            self.known.lost(key);
            return Ok(());
        };
        match end.receive(0) {
            Ok(received) => self.answer(key, received),
            Err(Error::WouldBlock) => {}
            // It is gone, or has sent what can't be received, by which nobody else may be held up.
            Err(_) => self.close(key),
        }
        Ok(())
    }

    /// Does what a message asks for, and answers if it is a call.
    fn answer(&mut self, session: u64, mut received: Received) {
        let reply = received.take_reply();
        let request = Request::decode(received.bytes());
        let answer = request.and_then(|request| self.judge(session, request, received));
        let told = reply.is_some_and(|mut reply| reply.send_words(encode_answer(answer)).is_ok());
        // Who was not told the number of a watch could never take it back.
        if let (Ok(Request::Watch { .. }), Ok(watch), false) = (request, answer, told) {
            let _ = self.known.unwatch(session, watch);
        }
    }

    fn judge(&mut self, session: u64, request: Request, mut received: Received) -> Answer {
        let brought = received.handles().iter().map(|handle| handle.kind());
        if !brought.eq(request.capability().map(Some)) {
            return Err(Refusal::Malformed);
        }
        match request {
            Request::Register(name) => {
                let end = self.keep(&mut received)?;
                self.register(session, name, end)
            }
            Request::LookUp(name) => self.introduce(name, end_of(&mut received)?),
            Request::Withdraw(name) => self.known.withdraw(session, name).map(|_| 0),
            Request::Watch {
                name,
                appeared,
                gone,
            } => {
                let notification = received.take(0).ok_or(Refusal::Malformed)?;
                let watcher = Watcher(notification);
                self.known.watch(session, name, [appeared, gone], watcher)
            }
            Request::Unwatch(watch) => self.known.unwatch(session, watch).map(|()| 0),
            Request::Attach => {
                let end = self.keep(&mut received)?;
                let attached = self.known.attach(session)?;
                if self.open(attached, end).is_err() {
                    self.known.close(attached);
                    return Err(Refusal::Limit);
                }
                Ok(attached)
            }
        }
    }

    /// The end that a message brought, to be kept. Of a channel only one is: with both, nobody's end
    /// would close it.
    fn keep(&self, received: &mut Received) -> Result<KeptEnd, Refusal> {
        self.ends
            .keep(end_of(received)?)
            .map_err(|_| Refusal::Malformed)
    }

    fn register(&mut self, session: u64, name: Name, end: KeptEnd) -> Answer {
        // The port may tell of the end of the former holder only after this.
        if let Some((key, former)) = self.known.find(name)
            && former.info().is_ok_and(|info| info.peer_closed == 1)
        {
            self.known.lost(key);
        }
        let handle = end.handle();
        let key = self.known.register(session, name, end)?;
        if self.port.bind(handle, Events::PEER_CLOSED, key).is_err() {
            self.known.lost(key);
            return Err(Refusal::Limit);
        }
        Ok(0)
    }

    /// Passes the end of a client on to whoever registered the name.
    fn introduce(&mut self, name: Name, client: ChannelEnd) -> Answer {
        let (key, end) = self.known.find(name).ok_or(Refusal::NotFound)?;
        let mut buffer = [0; MAX_REQUEST];
        let mut message = Message::new(encode_introduction(name, &mut buffer)).pass(client);
        match end.send(&mut message, 0) {
            Ok(()) => Ok(0),
            Err(Error::PeerClosed) => {
                self.known.lost(key);
                Err(Refusal::NotFound)
            }
            Err(Error::Invalid) => Err(Refusal::Older),
            Err(Error::Full | Error::WouldBlock | Error::Limit | Error::TimedOut) => {
                Err(Refusal::Busy)
            }
            // What was sent or what was registered can't be used for this.
            Err(_) => Err(Refusal::Malformed),
        }
    }
}

fn end_of(received: &mut Received) -> Result<ChannelEnd, Refusal> {
    received.take(0).ok_or(Refusal::Malformed)
}
