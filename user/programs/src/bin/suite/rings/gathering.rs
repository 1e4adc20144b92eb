//! One receiver of many rings.

use rt::{Error, FOREVER, Gather, Gathered, Mode};

use super::{ALL, start};
use crate::Case;
use crate::check::other_cpu;

pub fn gathered(case: &Case) {
    const PRODUCERS: usize = 4;
    const EACH: u32 = 50;
    let mut gather = done!(Gather::create(), "a port");
    let mut children = [const { None }; PRODUCERS];
    for (number, child) in children.iter_mut().enumerate() {
        let (key, end) = done!(gather.add(64, 4), "a ring");
        same!(key, number, "the key");
        // The first is killed in the middle, and keeps nobody back.
        let role = if number == 0 {
            "send_and_spin"
        } else {
            "send_messages"
        };
        let spawn = case.child(role).arg("50").handle(end, Mode::Move, ALL);
        *child = Some(start(spawn.cpus(other_cpu())));
    }
    // What is waited for besides is told however much comes, until it does not hold any more.
    let bell = done!(rt::Notification::create(), "a notification");
    let rung = rt::Events::SIGNALED;
    done!(gather.watch(bell.handle(), rung, 7), "watching");
    done!(bell.signal(1), "a signal");
    let mut heard = 0;
    let mut counts = [0; PRODUCERS];
    let mut ended = 0;
    let mut target = [0; 56];
    while ended < PRODUCERS {
        match done!(gather.receive(&mut target, FOREVER), "receiving") {
            Gathered::Message { key, length } => {
                if key == 0 {
                    let victim = children[0].take();
                    let killed = victim.as_ref().map(rt::Process::kill);
                    check!(matches!(killed, Some(Ok(()))), "killing the first");
                } else {
                    let (bytes, expected) = super::message(counts[key]);
                    check!(target[..length] == bytes[..expected], "a message of {key}");
                }
                counts[key] += 1;
            }
            Gathered::Ended { key, why } => {
                let expected = match key {
                    0 => ring::Error::PeerDied,
                    _ => ring::Error::PeerClosed,
                };
                same!(why, expected, "why {key} ended");
                ended += 1;
            }
            Gathered::Watched { key, events } => {
                same!((key, events), (7, rung), "what was watched");
                same!(bell.poll(), Ok(1), "the signal");
                heard += 1;
            }
            Gathered::TooLarge { key, length } => check!(false, "{length} bytes of {key}"),
        }
    }
    same!(counts, [1, EACH, EACH, EACH], "messages");
    same!(heard, 1, "signals that were heard");
    done!(bell.signal(1), "a signal");
    let told = gather.receive(&mut target, FOREVER);
    let expected = Gathered::Watched {
        key: 7,
        events: rung,
    };
    same!(told, Ok(expected), "the signal after the last producer");
    done!(gather.unwatch(7), "unwatching");
    refused!(
        gather.receive(&mut target, FOREVER),
        Error::PeerClosed,
        "receiving from nobody"
    );
    // Where a wait brings no barrier, nobody waits for an index.
    let (_producer, consumer) = done!(rt::ring(64, 4), "a ring");
    let waited = rt::object_wait(consumer, rt::Events::READABLE, 0);
    refused!(waited, Error::Unsupported, "an asymmetric ring");
}

pub fn watched_too(_: &Case) {
    let mut gather = done!(Gather::create(), "a port");
    let (_, end) = done!(gather.add(64, 4), "a ring");
    let mut sender = done!(rt::open_sender(end), "opening its end");
    let bell = done!(rt::Notification::create(), "a notification");
    let rung = rt::Events::SIGNALED;
    done!(gather.watch(bell.handle(), rung, 7), "watching");
    done!(bell.signal(1), "a signal");
    let mut target = [0; 56];
    // There is always another message.
    let heard = (0..200).any(|number| {
        let _ = sender.try_send(b"another");
        match done!(gather.receive(&mut target, 0), "receiving {number}") {
            Gathered::Watched { key, events } => {
                same!((key, events), (7, rung), "what was watched");
                true
            }
            Gathered::Message { .. } => false,
            other => {
                check!(false, "{other:?}");
                false
            }
        }
    });
    check!(heard, "nothing was told of but messages");
}

pub fn too_large(_: &Case) {
    let mut gather = done!(Gather::create(), "a port");
    let mut senders: [_; 2] = core::array::from_fn(|number| {
        let (key, end) = done!(gather.add(64, 4), "a producer");
        same!(key, number, "the key");
        done!(rt::open_sender(end), "opening its end")
    });
    done!(senders[0].try_send(b"longer than that"), "sending");
    let mut target = [0; 8];
    let long = Gathered::TooLarge { key: 0, length: 16 };
    let short = Gathered::Message { key: 1, length: 4 };
    for _ in 0..3 {
        done!(senders[1].try_send(b"next"), "sending");
        same!(gather.receive(&mut target, 0), Ok(long), "what is left");
        same!(
            gather.receive(&mut target, 0),
            Ok(short),
            "what is behind it"
        );
        same!(target[..4], b"next"[..], "its bytes");
    }
    same!(gather.receive(&mut target, 0), Ok(long), "what is left");
    let all = gather.receive(&mut [0; 16], 0);
    same!(
        all,
        Ok(Gathered::Message { key: 0, length: 16 }),
        "all of it"
    );
    // Whoever is taken out can be received from elsewhere, and its key is free.
    let mut alone = done!(gather.remove(0).ok_or(Error::NotFound), "the first");
    check!(gather.remove(0).is_none(), "it was there twice");
    done!(senders[0].try_send(b"alone"), "sending");
    same!(alone.try_receive(&mut target), Ok(5), "its message");
    same!(gather.len(), 1, "who is left");
    let (key, _end) = done!(gather.add(64, 4), "one more");
    same!(key, 0, "its key");
    let nothing = gather.receive(&mut target, rt::in_ms(1));
    refused!(nothing, Error::TimedOut, "receiving nothing");
}
