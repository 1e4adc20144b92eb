//! One object of each kind, for the cases that look at every call.

use abi::{
    Handle, HubGeometry, InterruptInfo, ObjectKind, RegionFlags, Rights, SubmissionArgs,
    ThreadArgs, UserPtr,
};
use programs::archive;
use rt::{CachePolicy, ChannelEnd, Env, Error, Message, Mode, Region, sys};

use crate::Case;
use crate::calls::{READ_WRITE, cap_derive, cap_drop, map_all, region, small_ring};
use crate::check::{SOON_MS, succeeds};

/// Every kind of object.
pub fn kinds() -> impl Iterator<Item = ObjectKind> {
    (0..=u8::MAX).filter_map(ObjectKind::from_code)
}

/// A capability of a new object with all rights that there are of its kind. Whatever could wait for a
/// peer has none left, so that no call on it sleeps.
pub fn object(case: &Case, kind: ObjectKind) -> Handle {
    done!(made(case, kind), "an object: {kind:?}")
}

fn made(case: &Case, kind: ObjectKind) -> Result<Handle, Error> {
    match kind {
        ObjectKind::Region => {
            let (len, flags) = (4096, RegionFlags::EXECUTE);
            // SAFETY: the call touches no memory.
            unsafe { sys::region_create(len, flags, CachePolicy::WriteBack, u64::MAX) }
        }
        ObjectKind::Image => image_of(case.initrd, "consumer"),
        ObjectKind::Resource => cap_derive(case.devices, Rights::all()),
        ObjectKind::RingEnd => {
            let (producer, consumer) = small_ring();
            cap_drop(consumer)?;
            Ok(producer)
        }
        ObjectKind::Process => {
            let child = case.child("nothing").start()?;
            let handle = cap_derive(child.handle(), Rights::all())?;
            succeeds(&child);
            Ok(handle)
        }
        // SAFETY: the call touches no memory.
        ObjectKind::Notification => unsafe { sys::notify_create() },
        // SAFETY: as above.
        ObjectKind::Port => unsafe { sys::port_create() },
        ObjectKind::ChannelEnd => {
            let (first, second) = channel()?;
            cap_drop(second)?;
            Ok(first)
        }
        ObjectKind::Reply => {
            let (here, there) = channel()?;
            let caller = case.child("caller");
            let caller = caller.handle(there, Mode::Move, Rights::all()).start()?;
            // SAFETY: the call touches no memory.
            let request = unsafe { sys::channel_serve_words(here, Handle::NONE, 0, 0, 0, 0) };
            let _ = caller;
            request.map(|request| request.reply)
        }
        ObjectKind::Timer => {
            let notification = made(case, ObjectKind::Notification)?;
            // SAFETY: as above.
            unsafe { sys::timer_create(notification, 1) }
        }
        ObjectKind::Interrupt => {
            let notification = made(case, ObjectKind::Notification)?;
            let mut info = InterruptInfo::default();
            let info = UserPtr::new((&raw mut info) as u64);
            // SAFETY: the pointer leads to `info`.
            unsafe { sys::interrupt_create(case.devices, notification, 1, info) }
        }
        ObjectKind::Thread => thread(),
        ObjectKind::Hub => hub(),
        ObjectKind::HubMember => membership(),
        ObjectKind::SubmissionRing => {
            let args = SubmissionArgs::new(4, 4);
            // SAFETY: the pointer leads to `args`.
            unsafe { sys::sub_create(UserPtr::new((&raw const args) as u64)) }
        }
    }
}

/// A capability of a new object with all rights but one.
pub fn weakened(case: &Case, kind: ObjectKind, missing: Rights) -> Handle {
    let whole = object(case, kind);
    if kind == ObjectKind::SubmissionRing {
        // It stays what it is, with less.
        done!(rt::reduce(whole, !missing), "reducing a {kind:?}");
        return whole;
    }
    if matches!(
        kind,
        ObjectKind::RingEnd | ObjectKind::Reply | ObjectKind::HubMember
    ) {
        // These can't be derived: it is moved to this very process with less.
        let (via, back) = small_ring();
        let token = rt::grant(whole, via, Mode::Move, !missing);
        let token = done!(token, "moving a {kind:?}");
        let moved = done!(rt::accept(token, back), "accepting a {kind:?}");
        done!(cap_drop(via).and(cap_drop(back)), "dropping a ring");
        return moved;
    }
    let derived = done!(cap_derive(whole, !missing), "deriving a {kind:?}");
    done!(cap_drop(whole), "dropping a {kind:?}");
    derived
}

/// An image of a program of the initrd.
pub fn image_of(initrd: Handle, name: &str) -> Result<Handle, Error> {
    let initrd = Region::from_handle(initrd);
    let image = archive::image(&initrd, name);
    // The case's, as before.
    let _ = initrd.into_handle();
    image
}

/// A channel: its two ends.
pub fn channel() -> Result<(Handle, Handle), Error> {
    let (first, second) = rt::channel(4)?;
    Ok((first.into_handle(), second.into_handle()))
}

/// A hub without guests.
fn hub() -> Result<Handle, Error> {
    let made = crate::calls::hub_create(&HubGeometry::slot(2, 64, 8, 8))?;
    cap_drop(made.table)?;
    Ok(made.hub)
}

/// A membership of a hub whose host is gone.
fn membership() -> Result<Handle, Error> {
    let hub = hub()?;
    let (member, _) = rt::hub::reserve(hub)?;
    cap_drop(hub)?;
    Ok(member)
}

/// A thread that ends at once.
fn thread() -> Result<Handle, Error> {
    const STACK: u64 = 16 << 10;
    let base = map_all(region(STACK), READ_WRITE);
    let args = ThreadArgs {
        entry: end_thread as *const () as u64,
        // As after a call.
        stack: base + STACK - 8,
        ..ThreadArgs::default()
    };
    // SAFETY: the pointer leads to `args`, and the thread has a stack of its own.
    unsafe { sys::thread_spawn(UserPtr::new((&raw const args) as u64)) }
}

extern "C" fn end_thread() -> ! {
    loop {
        // SAFETY: it has nothing to drop.
        let _ = unsafe { sys::thread_exit() };
    }
}

/// The roles of children here.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    match role {
        "caller" => {
            let end = ChannelEnd::from_handle(env.handle(0));
            // Four words are as good as these bytes, and any answer is taken.
            let _ = end.call(&mut Message::new(&[0; 32]), rt::in_ms(SOON_MS));
        }
        _ => return None,
    }
    Some(0)
}
