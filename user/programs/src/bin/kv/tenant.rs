//! A client as the server has it: its seat, the process that lives there, and how that is to end.

use alloc::format;

use abi::HubSeat;
use abi::hub::PeerState;
use programs::expect;
use programs::kv::MAX_REQUEST;
use programs::kv::server::Server;
use rt::hub::{Host, Link};
use rt::{FOREVER, Handle, Mode, Process, Region, Rights, Spawn, println};

/// A client is killed at most so often.
const DEATHS: u32 = 3;
/// Calls of the kernel within which one may be killed.
const ENTRIES: u64 = 60;
/// What a client may do with its region.
const COUNT: Rights = Rights::READ
    .union(Rights::WRITE)
    .union(Rights::MAP)
    .union(Rights::INSPECT);

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// With its last step.
    Natural,
    /// When the server has so many requests of it, before it has answered the last.
    Unanswered(u32),
    /// Just after it has answered it.
    Answered(u32),
    /// At this entry into the kernel.
    Entry(u64),
}

impl Fate {
    fn of(life: u32, steps: u32, random: &mut fastrand::Rng) -> Fate {
        match random.u32(..6) {
            _ if life > DEATHS || steps == 0 => Fate::Natural,
            0 => Fate::Unanswered(random.u32(1..=steps)),
            1 => Fate::Answered(random.u32(1..=steps)),
            2 => Fate::Entry(random.u64(1..=ENTRIES)),
            _ => Fate::Natural,
        }
    }
}

/// A client.
pub struct Tenant {
    number: usize,
    image: Handle,
    steps: u32,
    /// What one life tells the next.
    region: Region,
    lives: u32,
    life: Life,
    ended: Option<u8>,
}

struct Life {
    process: Process,
    seat: HubSeat,
    link: Option<Link>,
    requests: u32,
    fate: Fate,
}

impl Tenant {
    /// A client, in its first life.
    pub fn start(
        host: &Host,
        image: Handle,
        number: usize,
        steps: u32,
        random: &mut fastrand::Rng,
    ) -> Tenant {
        let region = expect!(Region::create(8), "kv: a region");
        let life = live(
            host,
            image,
            [number as u32, steps],
            &region,
            Fate::of(1, steps, random),
        );
        Tenant {
            number,
            image,
            steps,
            region,
            lives: 1,
            life,
            ended: None,
        }
    }

    /// Whether it has a seat now.
    pub fn sits_at(&self, peer: u32) -> bool {
        self.ended.is_none() && self.life.seat.peer == peer
    }

    /// Whether its last life has ended.
    pub fn is_done(&self) -> bool {
        self.ended.is_some()
    }

    /// Whether it found all answers right.
    pub fn succeeded(&self) -> bool {
        self.ended == Some(0)
    }

    /// How many lives it has had.
    pub fn lives(&self) -> u32 {
        self.lives
    }

    /// Answers what it has asked for. When it is gone, it gets another life.
    pub fn attend(&mut self, host: &Host, server: &mut Server, random: &mut fastrand::Rng) {
        let seat = self.life.seat;
        let standing = expect!(host.standing(seat.peer), "kv: how a client stands");
        if standing.epoch != seat.epoch || standing.state == PeerState::Reserved {
            return;
        }
        if self.life.link.is_none() {
            self.life.link = host.connect(seat.peer, seat.epoch).ok();
        }
        if !self.answer(server) {
            println!("kv: client {} asked for nonsense", self.number);
            let _ = host.dismiss(seat);
        }
        // Everything that it had sent by then was received above.
        if standing.state == PeerState::Goodbye {
            self.bury(host, random);
        }
    }

    /// Answers until there is nothing more. `false`: it is not worth listening to.
    fn answer(&mut self, server: &mut Server) -> bool {
        let life = &mut self.life;
        let Some(link) = &mut life.link else {
            return true;
        };
        let mut request = [0; MAX_REQUEST];
        loop {
            let len = match link.receiver.try_receive(&mut request) {
                Ok(len) => len,
                Err(ring::Error::PeerFault | ring::Error::TooLarge) => return false,
                Err(_) => return true,
            };
            let Ok(answer) = server.handle(self.number, &request[..len]) else {
                return false;
            };
            life.requests += 1;
            if life.fate == Fate::Unanswered(life.requests) {
                expect!(life.process.kill(), "kv: killing a client");
            }
            // Who is gone does not need it; who has more than one request does not get it.
            if link.sender.try_send(answer) == Err(ring::Error::Full) {
                return false;
            }
            if life.fate == Fate::Answered(life.requests) {
                expect!(life.process.kill(), "kv: killing a client");
            }
        }
    }

    /// Makes the seat free, and starts another life unless this one has ended by itself.
    fn bury(&mut self, host: &Host, random: &mut fastrand::Rng) {
        let recovered = match self.life.link.take() {
            Some(link) => host.recover(link).map(drop),
            None => host.recover_seat(self.life.seat),
        };
        expect!(recovered, "kv: recovering a seat");
        let ended = expect!(self.life.process.wait(FOREVER), "kv: waiting for a client");
        self.ended = ended.exited().map(|status| status as u8);
        if self.ended.is_none() {
            self.lives += 1;
            let fate = Fate::of(self.lives, self.steps, random);
            let numbers = [self.number as u32, self.steps];
            self.life = live(host, self.image, numbers, &self.region, fate);
        }
    }
}

/// Starts a process as the client of a number, with a seat.
fn live(
    host: &Host,
    image: Handle,
    [number, steps]: [u32; 2],
    region: &Region,
    fate: Fate,
) -> Life {
    let (member, seat) = expect!(host.reserve(), "kv: a seat");
    let spawn = Spawn::new(image, "client")
        .arg(&format!("{number}"))
        .arg(&format!("{}", seat.epoch))
        .arg(&format!("{steps}"))
        .handle(member, Mode::Move, Rights::all())
        .handle(region.handle(), Mode::Share, COUNT)
        .stopped();
    let process = expect!(spawn.start(), "kv: starting a client");
    if let Fate::Entry(entries) = fate {
        expect!(process.set_fuse(entries), "kv: a fuse");
    }
    expect!(process.resume(0, 0), "kv: beginning a client");
    Life {
        process,
        seat,
        link: None,
        requests: 0,
        fate,
    }
}
