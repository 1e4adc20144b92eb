//! The player of scripts of a process on Linux that says anything: in the handshake, with any files, and over the socket when
//! there is a ring.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;

use abi::ring::PAGE_BYTES;
use ring::linux::{
    Connection, ConsumerEnd, End, EndState, Error, Geometry, Kind, ProducerEnd, Setup, now_ns,
};
use rustix::fs::SealFlags;
use rustix::net::SendFlags;

use crate::linux_peer::*;
use crate::script::Script;

/// What an honest process accepts, and what files of this process are as large as.
const MOST_BYTES: u64 = 1 << 16;

/// Plays a script. Behind its end it is zeros, and a script of zeros is an honest peer's.
pub fn play(script: &[u8]) {
    let mut script = Script::new(script);
    match script.byte() % 4 {
        0 => offer(&mut script),
        1 => answer(&mut script),
        2 => offer_duplex(&mut script),
        _ => answer_duplex(&mut script),
    }
}

/// Something to say before there is a ring, and whether an honest peer could have said it.
struct Message {
    words: [u32; 16],
    bytes: usize,
    files: Vec<OwnedFd>,
    honest: bool,
}

impl Message {
    fn read(script: &mut Script<'_>, first: u32, end: End) -> Self {
        let mut words = message(first, end);
        let edits = script.byte() % 4;
        for _ in 0..edits {
            let word = usize::from(script.byte() % 16);
            words[word] = match script.byte() {
                small @ ..=99 => u32::from(small),
                power @ 100..=199 => 1_u32 << (power % 32),
                _ => script.word(),
            };
        }
        let bytes = match script.byte() {
            ..=199 => 64,
            other => usize::from(other - 200),
        };
        let mut honest = edits == 0 && bytes == 64;
        let count = match script.byte() {
            ..=199 => 1,
            other => other % 4,
        };
        honest &= count == 1;
        let size = size_of_file(&words, end);
        let files = (0..count).map(|_| {
            let kind = script.byte();
            honest &= kind <= 99;
            file(kind, size)
        });
        let files = files.collect();
        Self {
            words,
            bytes,
            files,
            honest,
        }
    }

    fn send(&self, socket: &Connection, besides: Option<BorrowedFd<'_>>) {
        let mut bytes = bytes_of(&self.words);
        bytes.resize(self.bytes, 0);
        let files = self.files.iter().map(AsFd::as_fd).chain(besides);
        send(socket, &bytes, &files.collect::<Vec<_>>());
    }
}

/// What the file of a message has to be as large as, if that can be.
fn size_of_file(words: &[u32; 16], end: End) -> u64 {
    let kind = Kind::from_raw(words[2]).unwrap_or(Kind::Slot);
    let geometry = Geometry {
        kind,
        slot_size: words[4],
        capacity: words[5],
    };
    let data = match geometry.check().is_ok() && geometry.data_bytes() <= MOST_BYTES {
        true => geometry.data_bytes(),
        false => GEOMETRY.data_bytes(),
    };
    match end {
        End::Producer => PAGE_BYTES as u64 + data,
        End::Consumer => PAGE_BYTES as u64,
    }
}

/// A file as it should be, or as it should not.
fn file(kind: u8, bytes: u64) -> OwnedFd {
    match kind {
        ..=99 => sealed(bytes, ALL_SEALS),
        100..=119 => unsealed(bytes),
        120..=139 => sealed(bytes, ALL_SEALS.difference(SealFlags::SHRINK)),
        140..=159 => sealed(bytes, SealFlags::SHRINK),
        160..=179 => sealed(bytes + u64::from(kind), ALL_SEALS),
        180..=199 => sealed(bytes - PAGE_BYTES as u64, ALL_SEALS),
        200..=229 => std::fs::File::open("/dev/zero").unwrap().into(),
        _ => Connection::pair().unwrap().0.into(),
    }
}

/// Says anything over a socket over which there is a ring, and hangs up. What the state of its end comes to.
fn say(script: &mut Script<'_>, socket: &Connection) -> EndState {
    let mut state = EndState::Open;
    for _ in 0..64 {
        if script.is_over() {
            break;
        }
        let said = match script.byte() {
            ..=99 => vec![b'w'],
            100..=149 => vec![b'c'],
            150..=179 => vec![b'f'],
            180..=199 => vec![],
            200..=219 => vec![b'w', b'w'],
            _ => vec![script.byte()],
        };
        if rustix::net::send(socket, &said, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).is_err() {
            break;
        }
        match said[..] {
            [b'w'] => {}
            [b'c'] => state = EndState::Draining,
            // What says nothing is taken for its end.
            [] => break,
            _ => {
                state = EndState::Poisoned;
                break;
            }
        }
    }
    match state {
        EndState::Open => EndState::Closed,
        state => state,
    }
}

/// Waits until an end has heard all that was said.
fn hears(what: &str, state: impl Fn() -> EndState, said: EndState) {
    let limit = soon();
    while state() != said {
        assert!(
            now_ns() < limit,
            "{what} has heard {:?} and not {said:?}",
            state()
        );
        thread::yield_now();
    }
}

macro_rules! hear_as {
    ($name:ident, $End:ty, $attempt:ident) => {
        /// Uses an end whose peer says what it says. The file of a peer may have told of a ring that can't be.
        fn $name(end: $End, said: EndState) {
            match end.geometry().kind {
                Kind::Slot => {
                    if let Ok(mut end) = end.slot() {
                        let _ = end.$attempt(0);
                        hears("a SLOT ring", || end.peer_state(), said);
                    }
                }
                Kind::Packet => {
                    if let Ok(end) = end.packet() {
                        hears("a PACKET ring", || end.peer_state(), said);
                    }
                }
                Kind::Byte => {
                    if let Ok(end) = end.byte() {
                        hears("a BYTE ring", || end.peer_state(), said);
                    }
                }
            }
        }
    };
}

hear_as!(produce, ProducerEnd, wait_for_space);
hear_as!(consume, ConsumerEnd, wait_for_message);

/// Tells an honest process to be refused from any other.
fn accepted<T>(answer: Result<T, Error>, honest: bool) -> Option<T> {
    assert!(
        answer.is_ok() || !honest,
        "an honest peer is refused: {:?}",
        answer.err()
    );
    answer.ok()
}

/// Offers a ring to an honest process, which takes it if it can be.
fn offer(script: &mut Script<'_>) {
    let end = match script.byte() % 2 {
        0 => End::Producer,
        _ => End::Consumer,
    };
    let (honest, hostile) = Connection::pair().unwrap();
    let message = Message::read(script, OFFER, end);
    message.send(&hostile, None);
    let said = say(script, &hostile);
    let Some(offer) = accepted(honest.offer(soon()), message.honest) else {
        return;
    };
    if offer.geometry().data_bytes() > MOST_BYTES {
        return;
    }
    match offer.end() {
        End::Producer => {
            if let Some(end) = accepted(offer.produce(), message.honest) {
                drop(hostile);
                produce(end, said);
            }
        }
        End::Consumer => {
            if let Some(end) = accepted(offer.consume(), message.honest) {
                drop(hostile);
                consume(end, said);
            }
        }
    }
}

/// Answers the offer of an honest process.
fn answer(script: &mut Script<'_>) {
    let end = match script.byte() % 2 {
        0 => End::Consumer,
        _ => End::Producer,
    };
    let (honest, hostile) = Connection::pair().unwrap();
    let message = Message::read(script, ANSWER, end);
    message.send(&hostile, None);
    let said = say(script, &hostile);
    let setup = Setup::new(GEOMETRY);
    match end.peer() {
        End::Producer => {
            if let Some(end) = accepted(setup.produce(honest, soon()), message.honest) {
                drop(hostile);
                produce(end, said);
            }
        }
        End::Consumer => {
            if let Some(end) = accepted(setup.consume(honest, soon()), message.honest) {
                drop(hostile);
                consume(end, said);
            }
        }
    }
}

/// Offers a ring in each direction.
fn offer_duplex(script: &mut Script<'_>) {
    let (honest, hostile) = Connection::pair().unwrap();
    let (kept, passed) = Connection::pair().unwrap();
    let there = Message::read(script, DUPLEX, End::Producer);
    let back = Message::read(script, OFFER, End::Consumer);
    back.send(&kept, None);
    let besides = match script.byte() {
        ..=199 => Some(passed.as_fd()),
        _ => None,
    };
    there.send(&hostile, besides);
    let all_honest = there.honest && back.honest && besides.is_some();
    let said = [say(script, &hostile), say(script, &kept)];
    drop(passed);
    let Some(offer) = accepted(honest.duplex_offer(soon()), all_honest) else {
        return;
    };
    if offer.sending().data_bytes() > MOST_BYTES || offer.receiving().data_bytes() > MOST_BYTES {
        return;
    }
    if let Some(ends) = accepted(offer.accept(), all_honest) {
        drop((hostile, kept));
        let (sender, receiver) = ends.split();
        consume(receiver, said[0]);
        produce(sender, said[1]);
    }
}

/// Answers the offer of a ring in each direction.
fn answer_duplex(script: &mut Script<'_>) {
    let (honest, hostile) = Connection::pair().unwrap();
    let there = Message::read(script, ANSWER, End::Consumer);
    let back = Message::read(script, ANSWER, End::Producer);
    let way = script.byte();
    let offers = thread::spawn(move || {
        let setup = Setup::new(GEOMETRY);
        setup.duplex(setup, honest, soon())
    });
    // The file of the offer, and the way over which the other comes.
    let (_, mut files) = receive_all(&hostile);
    let passed = Connection::from_socket(files.pop().unwrap()).unwrap();
    drop((receive_all(&passed), files));
    // Each answer goes its own way, or that of the other, or one is missing. What is looked at first is said last, while
    // there is somebody for sure to whom it can be said.
    let (first, second) = match way {
        200..=229 => (&back, &there),
        _ => (&there, &back),
    };
    if !(230..=242).contains(&way) {
        second.send(&passed, None);
    }
    if way <= 242 {
        first.send(&hostile, None);
    }
    let said = [say(script, &hostile), say(script, &passed)];
    drop((hostile, passed));
    let answer = offers.join().unwrap();
    assert!(way <= 199 || answer.is_err(), "no answer is taken for one");
    let honest = there.honest && back.honest && way <= 199;
    if let Some(ends) = accepted(answer, honest) {
        let (sender, receiver) = ends.split();
        produce(sender, said[0]);
        consume(receiver, said[1]);
    }
}
