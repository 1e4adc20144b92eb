//! Rings.

use alloc::sync::Arc;

use abi::{Error, Handle, RingClose, RingEnds, RingGeometry, RingInfo, UserPtr};

use crate::machine::ipc;
use crate::process::Process;
use crate::user_memory;

pub fn ring_create(
    process: &Arc<Process>,
    geometry: UserPtr<RingGeometry>,
    ends: UserPtr<RingEnds>,
) -> Result<(), Error> {
    let shape = user_memory::read(geometry)?.decode()?;
    let domain = process.domain();
    let (producer, consumer) = ipc().create_ring(domain, shape)?;
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
    info: UserPtr<RingInfo>,
) -> Result<(), Error> {
    user_memory::write(info, &ipc().ring_info(process.domain(), end)?)
}

pub fn ring_close(process: &Arc<Process>, end: Handle, how: RingClose) -> Result<(), Error> {
    ipc().close_ring(process.domain(), end, how)
}

pub fn ring_turn(
    process: &Arc<Process>,
    end: Handle,
    waiting: Handle,
    seen: u32,
    deadline: u64,
) -> Result<(), Error> {
    ipc().turn_ring(process.domain(), end, waiting, seen, deadline)
}
