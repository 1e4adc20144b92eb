//! The calls that are the kernel's own, made by processes whose quota ends anywhere: what is refused
//! changes nothing (I9, I11). The other calls are swept on the host.

mod scarce;

use alloc::string::ToString;
use core::sync::atomic::AtomicU64;

use abi::ThreadArgs;
use abi::limits::MAX_REGISTERED;
use programs::archive::{self, Place};
use rt::{
    Env, Error, Handle, Mode, Notification, ProcessState, Resources, Rights, Spawn, UserPtr, sys,
};

pub use scarce::scarce;

use crate::Case;
use crate::calls::{cap_drop, cap_info, image_create, map_all, region, region_info, unmap};
use crate::check::{eventually, wait};
use crate::threads::exit_at_once;

/// What is limited, by steps that tell single charges apart.
const KINDS: [fn(u64) -> Resources; 3] = [
    |units| Resources::bytes(units * 192),
    |units| Resources::frames(units * 3),
    Resources::tables,
];
/// Steps after which there has to be enough.
const ENOUGH: u64 = 2_000;
/// The exit status of one that was refused for its quota.
const REFUSED: u32 = 3;
/// Slots of the trace that is asked for.
const SLOTS: u32 = 64;
/// Rings with a table of all that can be registered.
const RINGS: u64 = 2;

fn charged() -> Resources {
    done!(rt::system_info(), "system_info").charged
}

/// A child with a region that it is given for good.
fn start(child: Spawn<'_>, quota: Resources) -> Result<rt::Process, Error> {
    let before = charged();
    let given = region(4096);
    let child = child.handle(given, Mode::Move, Rights::all()).quota(quota);
    child.start().inspect_err(|error| {
        same!(*error, Error::Quota, "a spawn with {quota:?}");
        done!(cap_info(given), "what was to be moved");
        done!(cap_drop(given), "dropping");
        same!(charged(), before, "what is charged after a refusal");
    })
}

/// Starts processes with ever more of a quota, until one can do all that it has to. From how much on they
/// begin, and how often they were refused something then.
fn sweep<'a>(child: impl Fn() -> Spawn<'a>, of: fn(u64) -> Resources, from: u64) -> (u64, u64) {
    let (mut first, mut refused) = (0, 0);
    for units in from..ENOUGH {
        let before = charged();
        let Ok(process) = start(child(), of(units)) else {
            continue;
        };
        if first == 0 {
            first = units;
        }
        let ended = wait(&process);
        same!(ended.state, ProcessState::Exited as u32, "how it ended");
        drop(process);
        eventually("all to be returned", || charged() == before);
        if ended.status == 0 {
            return (first, refused);
        }
        same!(ended.status, REFUSED, "the status with {:?}", of(units));
        refused += 1;
    }
    check!(false, "there is never enough of {:?}", of(1));
    (first, refused)
}

pub fn kernel_calls(case: &Case) {
    let nothing = || case.child("nothing");
    // What grows once grows before.
    let first = done!(start(nothing(), Resources::NONE), "a child");
    let _ = wait(&first);
    drop(first);
    let place = place_of(case.initrd, "consumer");
    let (offset, len) = (place.offset.to_string(), place.len.to_string());
    for (kind, of) in KINDS.into_iter().enumerate() {
        let (enough, _) = sweep(nothing, of, 1);
        check!(enough > 1, "kind {kind}: a process takes nothing");
        for (call, takes) in [
            ("thread", [true, false, false]),
            ("image", [true; 3]),
            ("trace", [true; 3]),
        ] {
            let child = || {
                case.child("sweep")
                    .arg(&offset)
                    .arg(&len)
                    .arg(call)
                    .handle(case.initrd, Mode::Share, Rights::all())
                    .handle(case.devices, Mode::Share, Rights::all())
            };
            let (_, refused) = sweep(child, of, enough);
            same!(refused > 0, takes[kind], "{call}, kind {kind}: {refused}");
        }
    }
}

/// As many pieces of the kernel's heap by one call as there can be: the kernel has none of them from what it keeps
/// for those that can't fail.
pub fn many_pieces(case: &Case) {
    let child = case.child("sweep").arg("0").arg("0").arg("slots");
    let process = done!(child.start(), "a child");
    let ended = wait(&process);
    same!(ended.state, ProcessState::Exited as u32, "how it ended");
    same!(ended.status, 0, "its status");
}

/// Registers a handle in each block of as many slots as there can be, and makes rings that know them all.
fn reserve_slots() -> Result<(), Error> {
    /// Places of which a ring makes room for all when it learns of one.
    const BLOCK: usize = 64;
    let most = MAX_REGISTERED as u64;
    let bell = Notification::create()?;
    // SAFETY: the call touches no memory.
    unsafe { sys::sub_slots(most, most) }?;
    for slot in (0..most).step_by(BLOCK) {
        // SAFETY: as above.
        unsafe { sys::sub_register(bell.handle(), slot) }?;
    }
    for _ in 0..RINGS {
        drop(rt::submission::Submissions::new(1)?);
    }
    Ok(())
}

/// Where a program is in the initrd.
pub fn place_of(initrd: Handle, name: &str) -> Place {
    let start = map_all(initrd, Rights::READ);
    let len = done!(region_info(initrd), "region_info").len as usize;
    // SAFETY: nobody can write the initrd, and the mapping is there until the bytes are not used any more.
    let bytes = unsafe { core::slice::from_raw_parts(start as *const u8, len) };
    let place = done!(archive::find(bytes, name).ok_or(Error::NotFound), "{name}");
    done!(unmap(start), "unmapping");
    place
}

/// A thread that ends at once.
fn start_thread() -> Result<Handle, Error> {
    /// Its stack, which it hardly uses.
    static STACK: [AtomicU64; 512] = [const { AtomicU64::new(0) }; 512];
    let args = ThreadArgs {
        entry: exit_at_once as *const () as u64,
        // As after a call.
        stack: STACK.as_ptr_range().end as u64 - 8,
        ..ThreadArgs::default()
    };
    // SAFETY: the thread touches nothing but its stack, which is its own.
    unsafe { sys::thread_spawn(UserPtr::new((&raw const args) as u64)) }
}

/// The roles of children here.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    if role != "sweep" {
        return None;
    }
    if env.args().nth(5) == Some("slots") {
        done!(reserve_slots(), "reserving");
        return Some(0);
    }
    let (initrd, devices) = (env.handle(0), env.handle(1));
    let (offset, len) = (crate::number(env, 0), crate::number(env, 1));
    let before = charged();
    let made = match env.args().nth(5) {
        Some("thread") => start_thread(),
        Some("image") => image_create(initrd, offset, len),
        // SAFETY: the call touches no memory.
        Some("trace") => unsafe { sys::trace_start(devices, SLOTS) },
        _ => return None,
    };
    match made {
        Ok(_) => Some(0),
        Err(error) => {
            same!(error, Error::Quota, "the refusal");
            same!(charged(), before, "what is charged after it");
            Some(REFUSED as u8)
        }
    }
}
