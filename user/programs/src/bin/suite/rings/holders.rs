//! Ends that move: whoever has one next goes on where the one before it stopped, in a new epoch.

use core::ops::Range;

use abi::RingGeometry;
use abi::ring::{Form, Kind};
use rt::{Env, FOREVER, Mode, RingEnd, Thread};

use super::kinds::{AnyReceiver, AnySender, KINDS, message, shape};
use super::{ALL, start};
use crate::Case;
use crate::calls::small_ring;
use crate::check::{eventually, other_cpu, succeeds};

/// Messages that fill any ring several times.
const MANY: u32 = 300;
/// Messages in all.
const COUNT: u32 = 30;
/// Those of the first who sends.
const SENT: u32 = 12;
/// Those of the first who receives: less than is given back without being asked for.
const RECEIVED: u32 = 3;

/// Rings of every kind and form. Their indices wrap among the messages of the first who sends.
fn shapes() -> impl Iterator<Item = RingGeometry> {
    let forms = [Form::Asymmetric, Form::Symmetric].into_iter();
    let all = forms.flat_map(|form| KINDS.map(|kind| (kind, form)));
    all.map(|(kind, form)| {
        let before: u32 = match kind {
            Kind::Slot => 8,
            Kind::Packet | Kind::Byte => 256,
        };
        shape(kind)
            .with_form(form)
            .starting_at(before.wrapping_neg())
    })
}

pub fn passed_on(case: &Case) {
    for shape in shapes() {
        let (producer, consumer) = done!(rt::ring_of(&shape), "a ring: {shape:?}");
        let listener = Thread::spawn(move || {
            let mut receiver = AnyReceiver::open(consumer);
            receive(&mut receiver, 0..COUNT);
            nothing_follows(&mut receiver);
            receiver.epoch()
        });
        let listener = done!(listener, "a thread");
        let mut sender = AnySender::open(producer);
        send(&mut sender, 0..SENT);
        // Its peer has received all of that and sleeps, and goes on with whoever has the end next.
        eventually("the sleep of the peer", || {
            let info = done!(rt::ring_info(producer), "facts about a ring");
            let waits = done!(rt::object_info(consumer), "facts about an end");
            info.head == info.tail && waits.waits == waits.wakes + 1
        });
        let heir = case.child("send_on").arg("2");
        let heir = start(heir.handle(sender.into_handle(), Mode::Move, ALL));
        succeeds(&heir);
        let epoch = done!(listener.join(), "the peer");
        same!(epoch, 2, "the epoch after one end moved: {shape:?}");
    }
    over_a_ring();
}

/// The producer sleeps for room in a full ring, while its peer moves to another process, which makes some.
pub fn emptied_elsewhere(case: &Case) {
    for shape in shapes() {
        let (producer, consumer) = done!(rt::ring_of(&shape), "a ring: {shape:?}");
        let speaker = Thread::spawn(move || {
            let mut sender = AnySender::open(producer);
            // More than there is room for.
            send(&mut sender, 0..MANY);
            sender.epoch()
        });
        let speaker = done!(speaker, "a thread");
        let mut receiver = AnyReceiver::open(consumer);
        receive(&mut receiver, 0..RECEIVED);
        eventually("the sleep of the peer", || {
            let waits = done!(rt::object_info(producer), "facts about an end");
            waits.waits == waits.wakes + 1
        });
        let heir = case.child("empty").cpus(other_cpu());
        let heir = start(heir.handle(receiver.into_handle(), Mode::Move, ALL));
        succeeds(&heir);
        let epoch = done!(speaker.join(), "the peer");
        same!(epoch, 2, "the epoch after one end moved: {shape:?}");
    }
}

pub fn half_received(case: &Case) {
    for shape in shapes() {
        let (producer, consumer) = done!(rt::ring_of(&shape), "a ring: {shape:?}");
        let mut sender = AnySender::open(producer);
        let mut receiver = AnyReceiver::open(consumer);
        send(&mut sender, 0..SENT);
        receive(&mut receiver, 0..RECEIVED);
        begin(&mut receiver, RECEIVED);
        same!(sender.epoch(), 1, "the epoch of {shape:?}");
        let heir = case.child("receive_on").cpus(other_cpu());
        let receiving = start(heir.handle(receiver.into_handle(), Mode::Move, ALL));
        same!(sender.epoch(), 2, "the epoch after one end moved");
        let heir = case.child("send_on").arg("3");
        let sending = start(heir.handle(sender.into_handle(), Mode::Move, ALL));
        succeeds(&sending);
        succeeds(&receiving);
    }
}

/// Over the other end of another ring, to this very process.
fn over_a_ring() {
    let (producer, consumer) = small_ring();
    let (via, back) = small_ring();
    let mut receiver = done!(rt::open_receiver(consumer), "opening an end");
    let mut sender = done!(rt::open_sender(producer), "opening an end");
    done!(sender.try_send(b"first"), "sending");
    let token = rt::grant(sender.into_handle(), via, Mode::Move, ALL);
    let token = done!(token, "granting an end over a ring");
    let moved = done!(rt::accept(token, back), "accepting it");
    let mut sender = done!(rt::open_sender(moved), "opening it again");
    done!(sender.try_send(b"next"), "sending");
    let mut target = [0; 5];
    for expected in [5, 4] {
        let length = done!(receiver.try_receive(&mut target), "receiving");
        same!(length, expected, "a length");
    }
    let info = done!(rt::ring_info(consumer), "facts about a ring");
    same!(info.epoch, 2, "the epoch");
}

fn send(sender: &mut AnySender, indices: Range<u32>) {
    for index in indices {
        let (bytes, length) = message(index);
        done!(sender.send(index, &bytes[..length]), "message {index}");
    }
}

fn receive(receiver: &mut AnyReceiver, indices: Range<u32>) {
    for index in indices {
        let (bytes, length) = message(index);
        let mut target = [0; 120];
        let (tag, got) = done!(receiver.receive(&mut target), "message {index}");
        check!(tag.is_none_or(|tag| tag == index), "the tag of {index}");
        check!(target[..got] == bytes[..length], "the bytes of {index}");
    }
}

/// Begins to receive a message: of a stream the first half is out of the ring then; in other rings it is looked at and
/// stays.
fn begin(receiver: &mut AnyReceiver, index: u32) {
    let (bytes, length) = message(index);
    let mut target = [0; 120];
    let mut target = &mut target[..length];
    match receiver {
        AnyReceiver::Slot(receiver) => {
            let shown = done!(receiver.peek(), "a look at message {index}");
            same!(shown.len(), length, "its length");
            done!(shown.read(0, target), "its bytes");
        }
        AnyReceiver::Packet(receiver) => {
            let shown = done!(receiver.peek(), "a look at message {index}");
            same!(shown.len(), length, "its length");
            done!(shown.read(0, target), "its bytes");
        }
        AnyReceiver::Byte(receiver) => {
            let mut found = [0; 4];
            done!(receiver.read_exact(&mut found, FOREVER), "a length");
            same!(u32::from_le_bytes(found) as usize, length, "a length");
            target = &mut target[..length / 2];
            done!(receiver.read_exact(target, FOREVER), "half of {index}");
        }
    }
    check!(*target == bytes[..target.len()], "the bytes of {index}");
}

/// Receives what is left of a message that somebody else has begun to receive.
fn go_on(receiver: &mut AnyReceiver, index: u32) {
    let AnyReceiver::Byte(receiver) = receiver else {
        return receive(receiver, index..index + 1);
    };
    let (bytes, length) = message(index);
    let rest = &bytes[length / 2..length];
    let mut target = [0; 120];
    let target = &mut target[..rest.len()];
    done!(receiver.read_exact(target, FOREVER), "the rest of {index}");
    check!(*target == *rest, "the rest of {index}");
}

fn nothing_follows(receiver: &mut AnyReceiver) {
    let next = receiver.receive(&mut [0; 120]);
    refused!(next, ring::Error::PeerClosed, "after the last message");
}

/// The roles of children here. Handle 0 is the end that they have from now on.
pub fn child(role: &str, env: &Env) -> bool {
    let end = env.handle(0);
    match role {
        "send_on" => {
            let mut sender = AnySender::open(end);
            send(&mut sender, SENT..COUNT);
            same!(
                u64::from(sender.epoch()),
                crate::number(env, 0),
                "the epoch"
            );
        }
        "empty" => {
            let mut receiver = AnyReceiver::open(end);
            receive(&mut receiver, RECEIVED..MANY);
            nothing_follows(&mut receiver);
        }
        "receive_on" => {
            let mut receiver = AnyReceiver::open(end);
            go_on(&mut receiver, RECEIVED);
            receive(&mut receiver, RECEIVED + 1..COUNT);
            nothing_follows(&mut receiver);
            same!(receiver.epoch(), 3, "the epoch after both ends moved");
        }
        _ => return false,
    }
    true
}
