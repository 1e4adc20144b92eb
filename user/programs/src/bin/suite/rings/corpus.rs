//! The scripts that the fuzzer of rings has kept, played over rings of the kernel.

#[path = "../../../../../../ring/tests/hostile_peer/script.rs"]
mod script;

use abi::RingGeometry;
use abi::ring::{CONSUMER_OFFSET, End, Form, Geometry, Kind, PRODUCER_OFFSET};
use ring::memory::{ConsumerMemory, ProducerMemory};
use rt::Handle;

use crate::Case;
use crate::calls::{
    cap_drop, consumer_memory, peek_u32, poke_u32, producer_memory, ring_create, ring_map,
    ring_wait, ring_wake,
};

const SCRIPTS: &[&[u8]] = &include!(concat!(env!("OUT_DIR"), "/hostile_peer.rs"));

/// An end and its view.
struct Mapped {
    end: Handle,
    view: u64,
}

impl Mapped {
    fn new(end: Handle) -> Mapped {
        let view = done!(ring_map(end), "mapping an end");
        Mapped { end, view }
    }

    fn waits(&self) -> AtKernel {
        AtKernel(self.end)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        done!(cap_drop(self.end), "dropping an end");
    }
}

/// A ring of which this process has both ends.
struct Ring {
    geometry: Geometry,
    producer: Mapped,
    consumer: Mapped,
}

impl Ring {
    fn new(geometry: Geometry, form: Form, start: u32) -> Ring {
        let shape = match geometry.kind {
            Kind::Slot => RingGeometry::slot(geometry.slot_size, geometry.capacity),
            Kind::Byte => RingGeometry::byte(geometry.capacity),
            Kind::Packet => RingGeometry::packet(geometry.capacity),
        };
        let ends = ring_create(&shape.with_form(form).starting_at(start));
        let ends = done!(ends, "a ring that begins at {start}: {geometry:?}");
        Ring {
            geometry,
            producer: Mapped::new(ends.producer),
            consumer: Mapped::new(ends.consumer),
        }
    }
}

/// Asks the kernel, which looks at the same words, and sleeps never.
struct AtKernel(Handle);

impl ring::Wait for AtKernel {
    fn wait(&self, seen: u32, _deadline_ns: u64) -> Result<(), ring::Error> {
        let _ = ring_wait(self.0, seen, 0);
        Err(ring::Error::TimedOut)
    }

    fn wake(&self) {
        done!(ring_wake(self.0), "waking the other end");
    }
}

impl ring::Turn<AtKernel> for AtKernel {}

impl script::Shared for Ring {
    type Wait = AtKernel;

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn producer(&self) -> (ProducerMemory, AtKernel) {
        let memory = producer_memory(self.producer.view, self.geometry);
        (done!(memory, "a part"), self.producer.waits())
    }

    fn consumer(&self) -> (ConsumerMemory, AtKernel) {
        let memory = consumer_memory(self.consumer.view, self.geometry);
        (done!(memory, "a part"), self.consumer.waits())
    }

    fn index(&self, end: End) -> u32 {
        peek_u32(match end {
            End::Producer => self.producer.view + PRODUCER_OFFSET as u64,
            End::Consumer => self.producer.view + CONSUMER_OFFSET as u64,
        })
    }

    fn overwrite(&self, offset: usize, value: u32) {
        let view = match offset {
            // The header is the kernel's: nobody else can write it.
            ..PRODUCER_OFFSET => return,
            PRODUCER_OFFSET..CONSUMER_OFFSET => self.producer.view,
            _ if offset < abi::ring::DATA_OFFSET => self.consumer.view,
            _ => self.producer.view,
        };
        poke_u32(view + offset as u64, value);
    }
}

pub fn corpus(_: &Case) {
    check!(SCRIPTS.len() > 20, "only {} scripts", SCRIPTS.len());
    for form in [Form::Symmetric, Form::Asymmetric] {
        for script in SCRIPTS {
            script::play(script, |geometry, start| Ring::new(geometry, form, start));
        }
    }
}
