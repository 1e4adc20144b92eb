//! Rings.

use alloc::sync::Arc;

use abi::{Error, Handle, Rights, RingEnds, RingGeometry, UserPtr};

use crate::machine::ipc;
use crate::process::Process;
use crate::user_memory;

pub fn ring_create(
    process: &Arc<Process>,
    geometry: UserPtr<RingGeometry>,
    ends: UserPtr<RingEnds>,
) -> Result<(), Error> {
    let geometry = user_memory::read(geometry)?.decode()?;
    let domain = process.domain();
    let (producer, consumer) = ipc().create_ring(domain, geometry)?;
    user_memory::write(ends, &RingEnds { producer, consumer }).inspect_err(|_| {
        // Nobody learnt of the ends, so nobody else can have touched them.
        let _ = ipc().drop_capability(domain, producer);
        let _ = ipc().drop_capability(domain, consumer);
    })
}

pub fn ring_map(process: &Arc<Process>, end: Handle) -> Result<u64, Error> {
    ipc().map_ring(process.domain(), end)
}

pub fn ring_wait(
    process: &Arc<Process>,
    end: Handle,
    seen: u32,
    deadline: u64,
) -> Result<(), Error> {
    ipc().wait_ring(process.domain(), end, seen, deadline)
}

pub fn ring_wake(process: &Arc<Process>, end: Handle) -> Result<(), Error> {
    ipc().wake_ring(process.domain(), end)
}

pub fn ring_info(
    process: &Arc<Process>,
    end: Handle,
    geometry: UserPtr<RingGeometry>,
) -> Result<(), Error> {
    let (ring, _) = ipc().ring_end(process.domain(), end, Rights::INSPECT)?;
    let facts = ring.geometry();
    user_memory::write(
        geometry,
        &RingGeometry {
            kind: facts.kind as u32,
            slot_size: facts.slot_size,
            capacity: facts.capacity,
            reserved: 0,
        },
    )
}
