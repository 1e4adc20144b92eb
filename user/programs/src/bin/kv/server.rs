//! The server: gives a seat at its hub to everybody who finds it by its name, and does what they ask for.
//!
//! Argument: how many accounts there are. Handles: the end where clients arrive, the region of the words of
//! its journal, and that of the bytes. It ends when it is told to, or when its name is gone and so is the
//! last client.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use abi::hub::PeerState;
use abi::{HubGeometry, HubPeers, HubSeat};
use programs::kv::journal::{self, Journal};
use programs::kv::{Answer, MAX_REQUEST, MESSAGE, MOST_ACCOUNTS, POOL, SLOT_SIZE, SLOTS, Tag};
use programs::{expect, expect_handles};
use rt::hub::{Host, Link, Payloads, Traffic, What};
use rt::names::Listener;
use rt::{
    ChannelEnd, Env, Error, Events, FOREVER, Message, ObjectKind, Port, Region, Reply, Rights,
    println,
};

/// Seats besides one for each account: of clients that are gone and not looked at yet.
const SPARE: u32 = 1;
/// The keys of the port: where clients arrive, and the hub. Those who have not got a seat yet follow.
const LISTENER: u64 = 0;
const HUB: u64 = 1;
/// Who can wait for a seat at once.
const MOST_WAITING: usize = 2 * MOST_ACCOUNTS as usize;

pub fn run(env: &Env) -> u8 {
    let accounts = env.args().nth(2).and_then(|word| word.parse().ok());
    let Some(accounts @ 1..=MOST_ACCOUNTS) = accounts else {
        println!("kv: the server needs the number of its accounts");
        return 2;
    };
    expect_handles(
        env,
        &[
            ObjectKind::ChannelEnd,
            ObjectKind::Region,
            ObjectKind::Region,
        ],
        "a supervisor starts it, as `kv` without `server` does",
    );
    let [words, bytes] = [1, 2].map(|index| {
        let mapped = Region::from_handle(env.handle(index)).map(Rights::READ | Rights::WRITE);
        expect!(mapped, "kv: mapping its journal")
    });
    let (Some(written), Some(again), mut bytes) = (words.word(0), words.word(1), bytes) else {
        return 1;
    };
    let len = journal::bytes(accounts as usize);
    // SAFETY: one server at a time has the region mapped, and this is the one slice of it.
    let Some(bytes) = (unsafe { bytes.as_mut_slice(len) }) else {
        return 1;
    };
    let Ok(journal) = Journal::open(accounts as usize, [written, again], bytes) else {
        println!("kv: what is in its journal was not written by a server of {accounts} accounts");
        return 1;
    };
    let geometry = HubGeometry::slot(accounts + SPARE, SLOT_SIZE, SLOTS, SLOTS);
    let mut server = Server {
        host: expect!(Host::create(&geometry), "kv: a hub"),
        journal,
        guests: BTreeMap::new(),
        traffic: Traffic::default(),
        told_to_finish: false,
        is_listed: true,
    };
    let listener = Listener::new(ChannelEnd::from_handle(env.handle(0)));
    match server.serve(&listener) {
        Ok(()) => {
            server.tell();
            0
        }
        Err(error) => {
            println!("kv: serving: {error}");
            1
        }
    }
}

/// What is waited for at the end of a channel.
const HEARD: Events = Events::READABLE.union(Events::PEER_CLOSED);

/// Those who have come and have not asked for a seat yet, by their keys at the port.
#[derive(Default)]
struct Doors {
    ends: BTreeMap<u64, ChannelEnd>,
    last: u64,
}

impl Doors {
    /// One more; who comes when there are too many is sent away.
    fn add(&mut self, port: &Port, end: ChannelEnd) {
        let key = HUB.max(self.last) + 1;
        if self.ends.len() < MOST_WAITING && port.bind(end.handle(), HEARD, key).is_ok() {
            self.last = key;
            self.ends.insert(key, end);
        }
    }

    /// The right to answer who asks; `Some(None)`: it is gone, or did not ask. `None`: it has said nothing.
    fn hear(&self, key: u64) -> Option<Option<Reply>> {
        match self.ends.get(&key)?.receive(0) {
            Ok(mut received) => Some(received.take_reply()),
            Err(Error::WouldBlock) => None,
            Err(_) => Some(None),
        }
    }
}

struct Server<'a> {
    host: Host,
    journal: Journal<'a>,
    /// By their seats.
    guests: BTreeMap<u32, Client>,
    /// Of those who are gone.
    traffic: Traffic,
    told_to_finish: bool,
    /// Whether its name is there.
    is_listed: bool,
}

/// A client, by its seat.
struct Client {
    link: Link,
    payloads: Payloads,
    account: Option<usize>,
}

impl Server<'_> {
    fn serve(&mut self, listener: &Listener) -> Result<(), Error> {
        let port = Port::create()?;
        port.bind(listener.end().handle(), HEARD, LISTENER)?;
        port.bind(self.host.handle(), Events::READABLE, HUB)?;
        let mut doors = Doors::default();
        loop {
            // Until nobody has anything more: from then on the hub tells the port.
            match self.host.wait(0) {
                Ok(peers) => {
                    self.attend_all(&peers)?;
                    if self.told_to_finish {
                        // Who is there is told, and finds the next server if there is one.
                        return self.host.goodbye();
                    }
                }
                Err(Error::WouldBlock) => match port.next(FOREVER)?.key {
                    HUB => {}
                    LISTENER => match listener.accept(0) {
                        Ok(client) => doors.add(&port, client),
                        Err(Error::WouldBlock) => {}
                        Err(Error::PeerClosed) => {
                            port.unbind(LISTENER)?;
                            self.is_listed = false;
                        }
                        Err(error) => return Err(error),
                    },
                    key => self.welcome(&mut doors, key),
                },
                Err(error) => return Err(error),
            }
            if !self.is_listed && self.guests.is_empty() {
                return Ok(());
            }
        }
    }

    /// Gives a seat to who asks for it, or says that there is none.
    fn welcome(&self, doors: &mut Doors, key: u64) {
        let Some(reply) = doors.hear(key) else {
            return;
        };
        let Some(mut reply) = reply else {
            doors.ends.remove(&key);
            return;
        };
        let (epoch, member) = match self.host.reserve() {
            Ok((member, seat)) => (seat.epoch.to_le_bytes(), Some(member)),
            Err(_) => ([0; 4], None),
        };
        let message = Message::new(&epoch);
        let mut message = match member {
            Some(member) => message.give(member),
            None => message,
        };
        // Who has gone meanwhile does not need it: the seat is left with the message.
        let _ = reply.send(&mut message);
        drop(message);
        doors.ends.remove(&key);
    }

    fn attend_all(&mut self, peers: &HubPeers) -> Result<(), Error> {
        for peer in peers.iter() {
            self.attend(peer)?;
        }
        Ok(())
    }

    /// Answers a client. When it is gone, its seat is made free.
    fn attend(&mut self, peer: u32) -> Result<(), Error> {
        let standing = self.host.standing(peer)?;
        let seat = HubSeat {
            peer,
            epoch: standing.epoch,
        };
        if matches!(standing.state, PeerState::Empty | PeerState::Reserved) {
            return Ok(());
        }
        let served = match self.guests.remove(&peer) {
            Some(client) => Ok(client),
            None => self.connect(seat),
        };
        let served = served.map(|mut client| {
            let answered = self.answer(&mut client);
            (client, answered)
        });
        // Everything that it had sent by then was received above.
        let is_gone = standing.state == PeerState::Goodbye;
        match served {
            Ok((client, Ok(()))) if !is_gone => _ = self.guests.insert(peer, client),
            Ok((client, answered)) => {
                if answered.is_err() && !is_gone {
                    let _ = self.host.dismiss(seat);
                }
                let Client { link, payloads, .. } = client;
                let recovered = self.host.recover_payloads(link, payloads, |_, _| {})?;
                self.traffic += recovered.traffic;
            }
            // It has left before it was looked at, or has written nonsense.
            Err(_) => {
                let _ = self.host.dismiss(seat);
                self.host.recover_seat(seat)?;
            }
        }
        Ok(())
    }

    /// Says what has passed in this life.
    fn tell(&self) {
        let mut traffic = self.traffic;
        for client in self.guests.values() {
            traffic += client.payloads.traffic();
        }
        println!("payloads  in messages  in slots  in regions      bytes  no room");
        let no_room = traffic.no_slot + traffic.no_region + traffic.no_ring;
        let lines = [
            ("received", traffic.received, traffic.unaffordable),
            ("sent", traffic.sent, no_room),
        ];
        for (name, flow, no_room) in lines {
            println!(
                "{name:<8}  {:>11}  {:>8}  {:>10}  {:>9}  {no_room:>7}",
                flow[What::Inline].messages,
                flow[What::Slot].messages,
                flow[What::Whole].messages,
                flow.payloads().bytes,
            );
        }
    }

    fn connect(&self, seat: HubSeat) -> Result<Client, Error> {
        let mut link = self.host.connect(seat.peer, seat.epoch)?;
        let payloads = Payloads::of_host(link.via(), MESSAGE);
        let mut payloads = payloads.with_longest_region(MAX_REQUEST as u64);
        payloads.grow(&POOL, &mut |message, _| link.sender.try_send(message))?;
        Ok(Client {
            link,
            payloads,
            account: None,
        })
    }

    /// Answers until there is nothing more. The error is that it is not worth listening to.
    fn answer(&mut self, client: &mut Client) -> Result<(), Error> {
        loop {
            let mut message = [0; MESSAGE];
            let Some(len) = client.link.receive(&mut message)? else {
                return Ok(());
            };
            let Client { link, payloads, .. } = client;
            let mut send = |message: &[u8], _| link.sender.try_send(message);
            let Some(received) = payloads.receive(&message[..len])? else {
                continue;
            };
            let tag = Tag::from_number(received.tag).ok_or(Error::PeerFault)?;
            if received.len() > MAX_REQUEST as u64 {
                return Err(Error::PeerFault);
            }
            let mut request = vec![0; received.len() as usize];
            payloads.read(&received, 0, &mut request)?;
            payloads.finish(received, &mut send)?;
            let answer = self.perform(&mut client.account, tag, &request)?;
            let Client { link, payloads, .. } = client;
            let mut send = |message: &[u8], _| link.sender.try_send(message);
            match payloads.send(tag as u32, &answer, &mut send) {
                // Who is gone does not need it.
                Ok(()) | Err(Error::PeerClosed) => {}
                // Who has more than one request does not get it.
                Err(error) => return Err(error),
            }
        }
    }

    fn perform(
        &mut self,
        account: &mut Option<usize>,
        tag: Tag,
        request: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let answer = match (tag, *account) {
            (Tag::Hello, None) => {
                let number = request.try_into().map(u32::from_le_bytes);
                let number = number.map_err(|_| Error::PeerFault)? as usize;
                if number >= self.journal.server().accounts().len() {
                    return Err(Error::PeerFault);
                }
                *account = Some(number);
                Answer::Done
            }
            (Tag::Request, Some(account)) => {
                let answer = self.journal.handle(account, request);
                answer.map_err(|_| Error::PeerFault)?
            }
            (Tag::Finish, Some(_)) => {
                self.told_to_finish = true;
                Answer::Done
            }
            _ => return Err(Error::PeerFault),
        };
        Ok(answer.encode())
    }
}
