//! Hubs.

use alloc::sync::Arc;

use abi::{
    Error, Handle, HubGeometry, HubGuestEnds, HubHandles, HubInfo, HubPeers, HubSeat, HubSignal,
    RingEnds, UserPtr,
};

use crate::machine::ipc;
use crate::process::Process;
use crate::user_memory::{self, Plain};

pub fn hub_create(
    process: &Arc<Process>,
    geometry: UserPtr<HubGeometry>,
    handles: UserPtr<HubHandles>,
) -> Result<(), Error> {
    let geometry = user_memory::read(geometry)?;
    let domain = process.domain();
    let made = ipc().create_hub(domain, geometry)?;
    user_memory::write(handles, &made).inspect_err(|_| {
        // Nobody learnt of it.
        let _ = ipc().drop_capability(domain, made.table);
        let _ = ipc().drop_capability(domain, made.hub);
    })
}

pub fn hub_reserve(
    process: &Arc<Process>,
    hub: Handle,
    seat: UserPtr<HubSeat>,
) -> Result<Handle, Error> {
    let domain = process.domain();
    tell_nothing(seat, &HubSeat::default())?;
    let (member, found) = ipc().reserve_seat(domain, hub)?;
    let written = user_memory::write(seat, &found);
    written.inspect_err(|_| _ = ipc().drop_capability(domain, member))?;
    Ok(member)
}

pub fn hub_claim(
    process: &Arc<Process>,
    member: Handle,
    epoch: u32,
    ends: UserPtr<HubGuestEnds>,
) -> Result<(), Error> {
    let domain = process.domain();
    tell_nothing(ends, &HubGuestEnds::default())?;
    let given = ipc().claim_seat(domain, member, epoch)?;
    user_memory::write(ends, &given).inspect_err(|_| {
        let _ = ipc().leave_seat(domain, member);
        for handle in [given.producer, given.consumer, given.table] {
            let _ = ipc().drop_capability(domain, handle);
        }
    })
}

pub fn hub_leave(process: &Arc<Process>, member: Handle) -> Result<(), Error> {
    ipc().leave_seat(process.domain(), member)
}

pub fn hub_info(process: &Arc<Process>, hub: Handle, info: UserPtr<HubInfo>) -> Result<(), Error> {
    let facts = ipc().hub_info(process.domain(), hub)?;
    user_memory::write(info, &facts)
}

pub fn hub_wait(
    process: &Arc<Process>,
    hub: Handle,
    peers: UserPtr<HubPeers>,
    deadline: u64,
) -> Result<u64, Error> {
    tell_nothing(peers, &HubPeers::default())?;
    let found = ipc().wait_hub(process.domain(), hub, deadline)?;
    user_memory::write(peers, &found)?;
    let count: u32 = found.bits.iter().map(|word| word.count_ones()).sum();
    Ok(count.into())
}

pub fn hub_connect(
    process: &Arc<Process>,
    hub: Handle,
    peer: u32,
    epoch: u32,
    ends: UserPtr<RingEnds>,
) -> Result<Handle, Error> {
    let domain = process.domain();
    // Who was connected once is not again.
    let nothing = RingEnds {
        producer: Handle::NONE,
        consumer: Handle::NONE,
    };
    tell_nothing(ends, &nothing)?;
    let (link, given) = ipc().connect_guest(domain, hub, peer, epoch)?;
    let written = user_memory::write(ends, &given);
    written.inspect_err(|_| {
        for handle in [given.producer, given.consumer, link] {
            let _ = ipc().drop_capability(domain, handle);
        }
    })?;
    Ok(link)
}

pub fn hub_dismiss(
    process: &Arc<Process>,
    hub: Handle,
    peer: u32,
    epoch: u32,
) -> Result<(), Error> {
    ipc().dismiss_guest(process.domain(), hub, peer, epoch)
}

pub fn hub_recover(
    process: &Arc<Process>,
    hub: Handle,
    peer: u32,
    epoch: u32,
) -> Result<(), Error> {
    ipc().recover_seat(process.domain(), hub, peer, epoch)
}

pub fn hub_signal(process: &Arc<Process>, member: Handle, signal: HubSignal) -> Result<(), Error> {
    ipc().signal_host(process.domain(), member, signal)
}

/// Writes a result that says nothing, before what can't be undone: what can't be told is not done.
fn tell_nothing<T: Plain>(to: UserPtr<T>, nothing: &T) -> Result<(), Error> {
    match mm::sabotaged!("told_when_done") {
        true => Ok(()),
        false => user_memory::write(to, nothing),
    }
}
