//! Processes.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::limits::{DEFAULT_PRIORITY, MAX_ARGS, MAX_NAME, MAX_PRIORITY, MAX_SPAWN_HANDLES};
use abi::{
    Error, Events, GrantFlags, Handle, HandleTransfer, Mode, ProcessInfo, ProcessStatus, Resources,
    Rights, SpawnArgs, SpawnFlags, UserPtr,
};
use ipc::{Domain, Offer};
use mm::{Account, Region};

use crate::machine::{Kernel, ipc};
use crate::process::{Limits, Process};
use crate::user_memory;

/// What a spawn was asked for, copied in and bounded.
struct Request {
    image: Handle,
    name: String,
    args: Vec<u8>,
    transfers: Vec<HandleTransfer>,
    limits: Limits,
    quota: Resources,
    flags: SpawnFlags,
}

impl Request {
    /// What a process of some limits asks for.
    fn read(from: UserPtr<SpawnArgs>, own: &Limits) -> Result<Request, Error> {
        let args = user_memory::read(from)?;
        if args.name_len > MAX_NAME || args.args_len > MAX_ARGS {
            return Err(Error::TooLarge);
        }
        if args.handles_len > MAX_SPAWN_HANDLES {
            return Err(Error::TooLarge);
        }
        let flags = SpawnFlags::from_bits(args.flags).ok_or(Error::Invalid)?;
        let priority = match args.priority {
            0 => DEFAULT_PRIORITY.min(own.priority.into()),
            1..=MAX_PRIORITY if args.priority <= own.priority.into() => args.priority,
            1..=MAX_PRIORITY => return Err(Error::Denied),
            _ => return Err(Error::Invalid),
        };
        let name = user_memory::read_array(args.name, args.name_len as usize)?;
        Ok(Request {
            image: args.image,
            name: printable(name)?,
            args: user_memory::read_array(args.args, args.args_len as usize)?,
            transfers: user_memory::read_array(args.handles, args.handles_len as usize)?,
            limits: Limits {
                priority: priority as u8,
                cpus: own.cpus_of(args.cpus),
            },
            quota: args.quota,
            flags,
        })
    }
}

pub fn process_spawn(process: &Arc<Process>, args: UserPtr<SpawnArgs>) -> Result<Handle, Error> {
    let Request {
        image,
        name,
        args,
        transfers,
        limits,
        quota,
        flags,
    } = Request::read(args, process.limits())?;
    let parent = process.domain();
    let stopped = flags.contains(SpawnFlags::STOPPED);
    let make = |region: &Arc<Region>, info| {
        let account = Account::below(parent.account(), quota)?;
        let child = Process::create(&account, name, region, info, limits)?;
        let domain = child.domain().clone();
        Ok((child, domain))
    };
    let offer = |child: &Arc<Process>| offer_all(parent, child, &transfers, &args);
    let complete = |child: &Arc<Process>, handles: &[Handle]| {
        // It was written there before, and nobody can have taken the stack away.
        let written = child.write_start(&args, handles);
        debug_assert!(written.is_ok(), "{child:?} has no stack");
        if stopped {
            child.hold();
        }
    };
    let discard = |child: &Arc<Process>| child.discard();
    let (handle, child) = ipc().make_process(parent, image, make, offer, complete, discard)?;
    if !stopped {
        child.start();
    }
    Ok(handle)
}

/// Begins to give a new process its handles, after all that can fail for its arguments.
fn offer_all(
    parent: &Arc<Domain<Kernel>>,
    child: &Process,
    transfers: &[HandleTransfer],
    args: &[u8],
) -> Result<Vec<Offer<Kernel>>, Error> {
    child.write_start(
        args,
        &[Handle::NONE; MAX_SPAWN_HANDLES as usize][..transfers.len()],
    )?;
    ipc().prepare(child.domain(), transfers.len())?;
    let offers = begin_all(parent, transfers)?;
    offers.iter().for_each(|offer| ipc().clear(offer));
    Ok(offers)
}

/// Begins every transfer, or none.
fn begin_all(
    parent: &Arc<Domain<Kernel>>,
    transfers: &[HandleTransfer],
) -> Result<Vec<Offer<Kernel>>, Error> {
    let mut offers = mm::room_for(transfers.len())?;
    for (index, transfer) in transfers.iter().enumerate() {
        let begun = transfer.decode().and_then(|(mode, rights)| {
            let same = |other: &HandleTransfer| other.handle == transfer.handle;
            let twice = mode == Mode::Move && transfers.iter().filter(|t| same(t)).count() > 1;
            if twice
                || transfers[..index]
                    .iter()
                    .any(|t| same(t) && t.mode == Mode::Move as u32)
            {
                return Err(Error::Overlap);
            }
            ipc().begin(parent, transfer.handle, mode, rights, GrantFlags::empty())
        });
        match begun {
            Ok(offer) => offers.push(offer),
            Err(error) => {
                offers.into_iter().for_each(|offer| ipc().withdraw(offer));
                return Err(error);
            }
        }
    }
    Ok(offers)
}

/// A name that the kernel can print in a line of its own.
fn printable(name: Vec<u8>) -> Result<String, Error> {
    if name.iter().any(|byte| !matches!(byte, b' '..=b'~')) {
        return Err(Error::Invalid);
    }
    String::from_utf8(name).map_err(|_| Error::Invalid)
}

pub fn process_wait(
    process: &Arc<Process>,
    handle: Handle,
    deadline: u64,
    status: UserPtr<ProcessStatus>,
) -> Result<(), Error> {
    let domain = process.domain();
    let (target, ended) = ipc().ask_process(domain, handle, Rights::WAIT, |target| {
        Ok((target.clone(), target.ended()))
    })?;
    let ended = match ended {
        Some(ended) => ended,
        None => {
            ipc().wait_object(domain, handle, Events::ENDED, deadline)?;
            target.ended().ok_or(Error::WouldBlock)?
        }
    };
    user_memory::write(status, &ended)
}

pub fn process_kill(process: &Arc<Process>, handle: Handle) -> Result<(), Error> {
    ipc().on_process(process.domain(), handle, Rights::DESTROY, |target| {
        target.kill();
        Ok(())
    })
}

pub fn process_info(
    process: &Arc<Process>,
    handle: Handle,
    info: UserPtr<ProcessInfo>,
) -> Result<(), Error> {
    let read = |target: &Arc<Process>| Ok(target.info());
    let facts = ipc().ask_process(process.domain(), handle, Rights::INSPECT, read)?;
    user_memory::write(info, &facts)
}
