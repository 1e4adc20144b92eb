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

/// What the port tells of a session.
const HEARD: Events = Events::READABLE.union(Events::PEER_CLOSED);

type Known = Registry<KeptEnd, Watcher>;

struct Names {
    port: Port,
    known: Known,
    /// By their numbers, which are also their keys at the port, as those of registrations are.
    sessions: BTreeMap<u64, KeptEnd>,
    /// Sessions that the port is not told of for a while.
    put_off: BTreeMap<u64, PutOff>,
    ends: Ends,
}

/// A session whose next message can't be received for want of memory, of quota, or of places for handles.
/// All three may be there again soon, and nothing of that is the sender's fault.
#[derive(Clone, Copy)]
struct PutOff {
    tries: u32,
    again_ns: u64,
}

/// The pause before the first further try, in ns; each is twice as long as the one before.
const FIRST_PAUSE_NS: u64 = 1_000_000;
/// Further tries to receive a message, for about a second.
const TRIES: u32 = 10;

impl Names {
    fn new(root: ChannelEnd) -> Result<Names, Error> {
        let mut names = Names {
            port: Port::create()?,
            known: Registry::new(),
            sessions: BTreeMap::new(),
            put_off: BTreeMap::new(),
            ends: Ends::new(),
        };
        let root = names.ends.keep(root)?;
        names.open(Known::ROOT, root)?;
        Ok(names)
    }

    fn open(&mut self, session: u64, end: KeptEnd) -> Result<(), Error> {
        self.port.bind(end.handle(), HEARD, session)?;
        self.sessions.insert(session, end);
        Ok(())
    }

    fn close(&mut self, session: u64) {
        // The bindings go with the ends.
        self.sessions.remove(&session);
        self.put_off.remove(&session);
        self.known.close(session);
    }

    /// Waits for one event and does what it asks for. Nothing that a client does is an error here.
    fn serve_one(&mut self) -> Result<(), Error> {
        self.try_again();
        let again = self.put_off.values().map(|put_off| put_off.again_ns).min();
        let key = match self.port.next(again.unwrap_or(FOREVER)) {
            Ok(packet) => packet.key,
            Err(Error::TimedOut) => return Ok(()),
            Err(error) => return Err(error),
        };
        if self.sessions.contains_key(&key) {
            self.hear(key);
        } else {
            // An end that was registered, and where nobody receives any more.
            self.known.lost(key);
        }
        Ok(())
    }

    /// Receives a message of a session.
    fn hear(&mut self, session: u64) {
        let Some(end) = self.sessions.get(&session) else {
            return;
        };
        match end.receive(0) {
            Ok(received) => {
                self.answer(session, received);
                self.resume(session);
            }
            Err(Error::WouldBlock) => self.resume(session),
            Err(Error::NoMemory | Error::Quota | Error::Limit) => self.put_off(session),
            // It is gone, or has sent what can't be received, by which nobody else may be held up.
            Err(_) => self.close(session),
        }
    }

    /// Hears those again whose pause is over.
    fn try_again(&mut self) {
        let now = rt::now_ns();
        let due =
            |(&session, put_off): (&u64, &PutOff)| (put_off.again_ns <= now).then_some(session);
        while let Some(session) = self.put_off.iter().find_map(due) {
            self.hear(session);
        }
    }

    /// Leaves a session alone for a while, so that the others are heard. In the end its client finds
    /// `PeerClosed`.
    fn put_off(&mut self, session: u64) {
        let tries = self.put_off.get(&session).map_or(0, |before| before.tries);
        if tries == 0 {
            // Else the port would tell of the message again at once.
            let _ = self.port.unbind(session);
        }
        if tries == TRIES {
            return self.close(session);
        }
        let put_off = PutOff {
            tries: tries + 1,
            again_ns: rt::now_ns() + (FIRST_PAUSE_NS << tries),
        };
        self.put_off.insert(session, put_off);
    }

    /// Has the port tell of a session again that was put off.
    fn resume(&mut self, session: u64) {
        let (Some(_), Some(end)) = (self.put_off.get(&session), self.sessions.get(&session)) else {
            return;
        };
        match self.port.bind(end.handle(), HEARD, session) {
            Ok(()) => drop(self.put_off.remove(&session)),
            Err(_) => self.put_off(session),
        }
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
        let admit = |key, end: &KeptEnd| {
            let bound = self.port.bind(end.handle(), Events::PEER_CLOSED, key);
            bound.map_err(|_| Refusal::Limit)
        };
        self.known.register(session, name, end, admit).map(|_| 0)
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
