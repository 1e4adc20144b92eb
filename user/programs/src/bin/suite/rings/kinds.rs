//! Rings of every kind and form, and what their messages are made of.

use abi::RingGeometry;
use abi::ring::{Form, Kind};
use rt::{Env, FOREVER, Handle, Mode, RingEnd};

use super::{ALL, start};
use crate::Case;
use crate::calls::ring_create;
use crate::check::{other_cpu, succeeds};

/// Where a ring has to begin to pass 2^32 soon.
pub(super) const SHORTLY_BEFORE: u32 = u32::MAX - 4095;

pub(super) const KINDS: [Kind; 3] = [Kind::Slot, Kind::Packet, Kind::Byte];

pub(super) fn shape(kind: Kind) -> RingGeometry {
    match kind {
        Kind::Slot => RingGeometry::slot(128, 16),
        Kind::Packet => RingGeometry::packet(4096),
        Kind::Byte => RingGeometry::byte(4096),
    }
}

/// An end of any kind that sends.
pub(super) enum AnySender {
    Slot(rt::Sender),
    Packet(rt::PacketSender),
    Byte(rt::ByteSender),
}

/// An end of any kind that receives.
pub(super) enum AnyReceiver {
    Slot(rt::Receiver),
    Packet(rt::PacketReceiver),
    Byte(rt::ByteReceiver),
}

impl AnySender {
    pub(super) fn open(end: Handle) -> AnySender {
        let info = done!(rt::ring_info(end), "facts about a ring");
        match Kind::from_raw(info.geometry.kind) {
            Some(Kind::Slot) => AnySender::Slot(done!(rt::open_sender(end), "opening")),
            Some(Kind::Packet) => AnySender::Packet(done!(rt::open_packet_sender(end), "opening")),
            _ => AnySender::Byte(done!(rt::open_byte_sender(end), "opening")),
        }
    }

    pub(super) fn epoch(&self) -> u32 {
        match self {
            AnySender::Slot(sender) => sender.epoch(),
            AnySender::Packet(sender) => sender.epoch(),
            AnySender::Byte(sender) => sender.epoch(),
        }
    }

    /// Gives it up without closing it.
    pub(super) fn into_handle(self) -> Handle {
        match self {
            AnySender::Slot(sender) => sender.into_handle(),
            AnySender::Packet(sender) => sender.into_handle(),
            AnySender::Byte(sender) => sender.into_handle(),
        }
    }

    /// In slots or bytes.
    pub(super) fn set_wake_threshold(&mut self, threshold: u32) {
        let set = match self {
            AnySender::Slot(sender) => sender.set_wake_threshold(threshold),
            AnySender::Packet(sender) => sender.set_wake_threshold(threshold),
            AnySender::Byte(sender) => sender.set_wake_threshold(threshold),
        };
        done!(set, "a threshold of {threshold}");
    }

    pub(super) fn send(&mut self, tag: u32, bytes: &[u8]) -> Result<(), ring::Error> {
        match self {
            AnySender::Slot(sender) => sender.send(bytes, FOREVER),
            AnySender::Packet(sender) => sender.send(tag, bytes, FOREVER),
            AnySender::Byte(sender) => {
                let length = (bytes.len() as u32).to_le_bytes();
                let written = sender.write_all(&length, FOREVER);
                let written = written.and_then(|()| sender.write_all(bytes, FOREVER));
                written.map_err(|unfinished| unfinished.error)
            }
        }
    }
}

impl AnyReceiver {
    pub(super) fn open(end: Handle) -> AnyReceiver {
        let info = done!(rt::ring_info(end), "facts about a ring");
        match Kind::from_raw(info.geometry.kind) {
            Some(Kind::Slot) => AnyReceiver::Slot(done!(rt::open_receiver(end), "opening")),
            Some(Kind::Packet) => {
                AnyReceiver::Packet(done!(rt::open_packet_receiver(end), "opening"))
            }
            _ => AnyReceiver::Byte(done!(rt::open_byte_receiver(end), "opening")),
        }
    }

    pub(super) fn epoch(&self) -> u32 {
        match self {
            AnyReceiver::Slot(receiver) => receiver.epoch(),
            AnyReceiver::Packet(receiver) => receiver.epoch(),
            AnyReceiver::Byte(receiver) => receiver.epoch(),
        }
    }

    /// Gives it up without closing it.
    pub(super) fn into_handle(self) -> Handle {
        match self {
            AnyReceiver::Slot(receiver) => receiver.into_handle(),
            AnyReceiver::Packet(receiver) => receiver.into_handle(),
            AnyReceiver::Byte(receiver) => receiver.into_handle(),
        }
    }

    /// In messages. Where they are not in slots there is none but 1.
    pub(super) fn set_wake_threshold(&mut self, threshold: u32) {
        if let AnyReceiver::Slot(receiver) = self {
            done!(
                receiver.set_wake_threshold(threshold),
                "a threshold of {threshold}"
            );
        }
    }

    /// The tag, where there is one, and the length.
    pub(super) fn receive(
        &mut self,
        target: &mut [u8],
    ) -> Result<(Option<u32>, usize), ring::Error> {
        match self {
            AnyReceiver::Slot(receiver) => Ok((None, receiver.receive(target, FOREVER)?)),
            AnyReceiver::Packet(receiver) => {
                let (tag, length) = receiver.receive(target, FOREVER)?;
                Ok((Some(tag), length))
            }
            AnyReceiver::Byte(receiver) => {
                let mut length = [0; 4];
                let read = receiver.read_exact(&mut length, FOREVER);
                read.map_err(|unfinished| unfinished.error)?;
                let length = u32::from_le_bytes(length) as usize;
                let read = receiver.read_exact(&mut target[..length], FOREVER);
                read.map_err(|unfinished| unfinished.error)?;
                Ok((None, length))
            }
        }
    }
}

/// Message number `index`: its length and every byte follow from the number.
pub(super) fn message(index: u32) -> ([u8; 120], usize) {
    let len = (index as usize * 13) % 121;
    let mut bytes = [0; 120];
    for (at, byte) in bytes[..len].iter_mut().enumerate() {
        *byte = (index as usize * 31 + at) as u8;
    }
    (bytes, len)
}

pub fn borders(_: &Case) {
    const LONGEST: usize = abi::ring::packet::max_payload(4096) as usize;
    let bytes = [0xa5; LONGEST + 1];
    for form in [Form::Asymmetric, Form::Symmetric] {
        for (kind, longest) in [(Kind::Slot, 120), (Kind::Packet, LONGEST)] {
            let shape = shape(kind).with_form(form).starting_at(SHORTLY_BEFORE);
            let ends = done!(rt::ring_of(&shape), "a ring: {kind:?}");
            let mut sender = AnySender::open(ends.0);
            let mut receiver = AnyReceiver::open(ends.1);
            let mut target = [0; LONGEST];
            for length in [0, 1, longest - 1, longest] {
                done!(sender.send(7, &bytes[..length]), "sending {length}");
                let (_, received) = done!(receiver.receive(&mut target), "receiving {length}");
                same!(received, length, "bytes of a message");
                check!(target[..length] == bytes[..length], "the bytes of {length}");
            }
            // At once, and not when there will be room.
            refused!(
                sender.send(7, &bytes[..longest + 1]),
                ring::Error::TooLarge,
                "one byte more"
            );
        }
        let shape = shape(Kind::Byte).with_form(form);
        let ends = done!(rt::ring_of(&shape), "a ring of bytes");
        let mut writer = done!(rt::open_byte_sender(ends.0), "opening");
        let mut reader = done!(rt::open_byte_receiver(ends.1), "opening");
        let more = writer.reserve(4097).map(drop);
        refused!(more, ring::Error::TooLarge, "one byte more");
        same!(writer.try_write(&[]), Ok(0), "no byte");
        same!(writer.try_write(&bytes[..1]), Ok(1), "one byte");
        let mut target = [0; 4096];
        same!(reader.try_read(&mut target), Ok(1), "one byte");
        // Who finds nothing gives everything back.
        refused!(reader.try_read(&mut target), ring::Error::Empty, "a second");
        done!(writer.reserve(4096).map(drop), "all there is room for");
    }
}

pub fn every_kind(case: &Case) {
    const ROUNDS: u32 = 40;
    const AT_ONCE: u32 = 5;
    for cpus in [1, other_cpu()] {
        for form in [Form::Asymmetric, Form::Symmetric] {
            for kind in KINDS {
                let shape = shape(kind).with_form(form).starting_at(SHORTLY_BEFORE);
                let there = done!(rt::ring_of(&shape), "a ring: {kind:?}");
                let back = done!(rt::ring_of(&shape), "a ring: {kind:?}");
                let child = case.child("echo_any").cpus(cpus);
                let child = child.handle(there.1, Mode::Move, ALL);
                let child = start(child.handle(back.0, Mode::Move, ALL));
                let mut sender = AnySender::open(there.0);
                let mut receiver = AnyReceiver::open(back.1);
                for round in 0..ROUNDS {
                    let indices = round * AT_ONCE..(round + 1) * AT_ONCE;
                    for index in indices.clone() {
                        let (bytes, len) = message(index);
                        done!(sender.send(index, &bytes[..len]), "message {index}");
                    }
                    for index in indices {
                        let (bytes, len) = message(index);
                        let mut target = [0; 120];
                        let (tag, got) = done!(receiver.receive(&mut target), "echo {index}");
                        check!(tag.is_none_or(|tag| tag == index), "the tag of {index}");
                        check!(
                            target[..got] == bytes[..len],
                            "echo {index} of {kind:?}, {form:?}"
                        );
                    }
                }
                drop(sender);
                succeeds(&child);
                check!(
                    matches!(
                        receiver.receive(&mut [0; 120]),
                        Err(ring::Error::PeerClosed)
                    ),
                    "the end of {kind:?}, {form:?}"
                );
            }
        }
    }
}

pub fn odd_shapes(_: &Case) {
    for bad in abi::impossible::RINGS {
        refused!(ring_create(bad), rt::Error::Invalid, "{bad:?}");
    }
    for large in [RingGeometry::byte(1 << 31), RingGeometry::packet(1 << 31)] {
        refused!(ring_create(&large), rt::Error::NoMemory, "{large:?}");
    }
    // An end is of its kind alone.
    let (producer, consumer) = done!(rt::ring_of(&RingGeometry::packet(4096)), "a ring");
    check!(
        matches!(rt::open_byte_sender(producer), Err(rt::Error::Unsupported)),
        "the end of another kind"
    );
    check!(
        matches!(rt::open_receiver(consumer), Err(rt::Error::Unsupported)),
        "the end of another kind"
    );
    for kind in KINDS {
        for message in [0, 1, 56, 57, 4000] {
            let memory = 64 << 10;
            let made = done!(RingGeometry::for_messages(kind, message, memory), "a size");
            let (producer, consumer) = done!(rt::ring_of(&made), "{made:?}");
            let info = done!(rt::ring_info(producer), "facts");
            same!(
                info.geometry.capacity,
                made.capacity,
                "the capacity of {made:?}"
            );
            let mut sender = AnySender::open(producer);
            let mut receiver = AnyReceiver::open(consumer);
            let bytes = [7; 4000];
            let mut target = [0; 4000];
            done!(sender.send(1, &bytes[..message as usize]), "the longest");
            let (_, length) = done!(receiver.receive(&mut target), "the longest");
            same!(length as u64, message, "its length");
        }
    }
}

/// The role of a child here.
pub fn echo(env: &Env) {
    let mut receiver = AnyReceiver::open(env.handle(0));
    let mut sender = AnySender::open(env.handle(1));
    let mut target = [0; 4096];
    loop {
        match receiver.receive(&mut target) {
            Ok((tag, len)) => {
                done!(sender.send(tag.unwrap_or(0), &target[..len]), "answering");
            }
            Err(ring::Error::PeerClosed) => break,
            Err(error) => done!(Err(error), "receiving"),
        }
    }
}
