//! The first process, and the end of the machine with it.

#![allow(unsafe_code)] // The initrd is read as the slice that boot put into memory.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

use abi::limits::{MAX_ARGS, MAX_PRIORITY};
use abi::{Error, ProcessState, ProcessStatus, Resources, Rights};
use arch::exit::{ExitCode, exit};
use boot::BootInfo;
use ipc::Payload;
use mm::{Account, Frame};
use spin::Once;
use tar_no_std::TarArchiveRef;

use crate::machine::ipc;
use crate::process::{Limits, Process};
use crate::{devices, loader, stats};

/// The program that is started first.
const INIT: &str = "init";
/// The file with its arguments: strings that end with a NUL each.
const INIT_ARGS: &str = "init.args";

/// What init may do with the initrd.
const INITRD_RIGHTS: Rights = Rights::READ
    .union(Rights::MAP)
    .union(Rights::GRANT)
    .union(Rights::DUPLICATE)
    .union(Rights::REVOKE)
    .union(Rights::INSPECT);

static KOID: Once<u64> = Once::new();

/// Why there is no first process.
#[derive(Debug)]
pub enum StartError {
    /// The loader brought no initrd, or not a tar archive.
    NoArchive,
    /// The archive has no program of that name.
    NoInit,
    /// Its arguments are too long.
    Arguments,
    /// It was refused.
    Refused(Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::NoArchive => f.write_str("the initrd is missing or not a tar archive"),
            StartError::NoInit => write!(f, "the initrd has no program `{INIT}`"),
            StartError::Arguments => write!(f, "`{INIT_ARGS}` is longer than {MAX_ARGS} bytes"),
            StartError::Refused(error) => write!(f, "`{INIT}` was refused: {error}"),
        }
    }
}

impl From<Error> for StartError {
    fn from(error: Error) -> Self {
        StartError::Refused(error)
    }
}

/// Starts the first process, with three handles: the initrd as a region, the resource of all devices,
/// and the statistics as a region.
pub fn start(info: &BootInfo) -> Result<(), StartError> {
    if info.initrd.is_empty() {
        return Err(StartError::NoArchive);
    }
    // SAFETY: boot kept the initrd out of usable memory, the direct map shows it, nobody writes it.
    let bytes = unsafe { arch::phys::bytes(info.initrd) };
    let archive = TarArchiveRef::new(bytes).map_err(|_| StartError::NoArchive)?;
    let find = |name: &str| {
        archive
            .entries()
            .find(|entry| entry.filename().as_str() == Ok(name))
            .map(|entry| entry.data())
    };
    let program = find(INIT).ok_or(StartError::NoInit)?;
    let args = find(INIT_ARGS).unwrap_or_default();
    if args.len() as u64 > MAX_ARGS {
        return Err(StartError::Arguments);
    }
    let offset = program.as_ptr() as u64 - bytes.as_ptr() as u64;

    let account = Account::below(ipc().memory().account(), Resources::NONE)?;
    let first = Frame::containing(info.initrd.start);
    let initrd = ipc()
        .memory()
        .create_initrd_region(&account, first, info.initrd.len())?;
    let (image, image_info) = loader::load(&account, &initrd, offset, program.len() as u64)?;
    let limits = Limits {
        priority: MAX_PRIORITY as u8,
        cpus: u64::MAX,
    };
    let process = Process::create(&account, String::from(INIT), &image, image_info, limits)?;
    ipc().memory().destroy_region(&image);
    let handle = ipc().install_object(process.domain(), Payload::Region(initrd), INITRD_RIGHTS)?;
    let resource = ipc().create_resource(process.domain(), devices::everything()?)?;
    let statistics = stats::install(&account, process.domain())?;
    process.write_start(args, &[handle, resource, statistics])?;
    KOID.call_once(|| process.domain().koid());
    process.start();
    Ok(())
}

/// Ends the machine with the first process. Its status is the last line on the console.
pub fn process_ended(process: &Arc<Process>, status: &ProcessStatus) {
    if KOID.get() != Some(&process.domain().koid()) {
        return;
    }
    let status = match status.state {
        state if state == ProcessState::Exited as u32 => status.status,
        _ => 1,
    };
    println!("#exit {status}");
    exit(ExitCode::Success)
}
