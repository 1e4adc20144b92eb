//! Ends that sleep until there is more than one to be woken for.

use abi::ring::{Form, Kind};
use ring::index::{has_reached, head_for_space, max_threshold};
use rt::{Handle, RingInfo, ThreadSpawn};

use super::kinds::{AnyReceiver, AnySender, KINDS, SHORTLY_BEFORE, message, shape};
use crate::Case;
use crate::check::{eventually, other_cpu};

/// The one whose message is sent again and again.
const NUMBER: u32 = 9;

fn info(end: Handle) -> RingInfo {
    done!(rt::ring_info(end), "facts about a ring")
}

/// How often somebody has begun to sleep at an end, and how often its peer has asked for it to be woken.
fn slept_and_woken(end: Handle) -> [u64; 2] {
    let info = done!(rt::object_info(end), "facts about an end");
    [info.waits, info.messages]
}

/// Each end sleeps with the highest threshold there is, and the other one moves its index step by step: it wakes who sleeps by
/// the step that makes it enough, and by none before it.
pub fn thresholds(_: &Case) {
    let (bytes, length) = message(NUMBER);
    let bytes = &bytes[..length];
    for form in [Form::Asymmetric, Form::Symmetric] {
        for kind in KINDS {
            let made = shape(kind).with_form(form).starting_at(SHORTLY_BEFORE);
            let ends = done!(rt::ring_of(&made), "a ring: {kind:?}");
            let (producer, consumer) = ends;
            let mut sender = AnySender::open(producer);
            let mut receiver = AnyReceiver::open(consumer);
            // Only slots are waited for in numbers by both.
            let (for_space, for_messages) = match kind {
                Kind::Slot => (max_threshold(made.capacity), max_threshold(made.capacity)),
                Kind::Packet | Kind::Byte => (made.capacity, 1),
            };
            sender.set_wake_threshold(for_space);
            receiver.set_wake_threshold(for_messages);
            let spawn = || ThreadSpawn::new().cpus(other_cpu());

            let sends = move || {
                let bytes = &message(NUMBER).0[..message(NUMBER).1];
                let mut sent = 0;
                while slept_and_woken(producer)[0] == 0 {
                    done!(sender.send(NUMBER, bytes), "message {sent}");
                    sent += 1;
                }
                (sender, sent)
            };
            let thread = done!(spawn().start(sends), "a thread");
            eventually("that who sends sleeps", || slept_and_woken(producer)[0] > 0);
            let goal = head_for_space(info(producer).tail, for_space, made.capacity);
            let mut target = [0; 120];
            let mut received = 0;
            loop {
                let (_, got) = done!(receiver.receive(&mut target), "message {received}");
                check!(target[..got] == *bytes, "the bytes of message {received}");
                received += 1;
                let enough = has_reached(info(consumer).head, goal);
                let woken = slept_and_woken(producer)[1];
                same!(
                    woken,
                    enough.into(),
                    "wakes by {received} of {kind:?}, {form:?}"
                );
                if enough {
                    break;
                }
            }
            let (mut sender, sent) = done!(thread.join(), "the end of who sent");
            while received < sent {
                done!(receiver.receive(&mut target), "message {received}");
                received += 1;
            }

            let [slept, woken] = slept_and_woken(consumer);
            let goal = info(producer).tail.wrapping_add(for_messages);
            // The end stays until it was asked about.
            let receives = move || {
                let (_, got) = done!(receiver.receive(&mut [0; 120]), "a message");
                (receiver, got)
            };
            let thread = done!(spawn().start(receives), "a thread");
            eventually("that who receives sleeps", || {
                slept_and_woken(consumer)[0] > slept
            });
            loop {
                done!(sender.send(NUMBER, bytes), "a message");
                let enough = has_reached(info(producer).tail, goal);
                let is_woken = slept_and_woken(consumer)[1] > woken;
                same!(is_woken, enough, "whether {kind:?}, {form:?} was woken");
                if enough {
                    break;
                }
            }
            let (_, got) = done!(thread.join(), "its end");
            same!(got, length, "bytes of a message");
        }
    }
}
