//! Capabilities that are narrower than rights can say: in part, number, time and use; and grants that
//! end.

use abi::{DeriveFlags, UserPtr};
use rt::{Derive, Error, FOREVER, GrantFlags, Handle, MapFlags, Message, Mode, Rights, sys};

use crate::Case;
use crate::calls::{
    READ_WRITE, cap_derive, cap_drop, cap_info, map, map_all, peek, poke, region, region_commit,
    region_snapshot, unmap,
};
use crate::memory::{worker, worker_faults};

const LEAF: u64 = abi::limits::LEAF_SIZE;
/// Far more than a call takes, in ns.
const SOON: u64 = 20_000_000;
/// Holders of one region, at a time.
const HOLDERS: usize = 100;

pub fn part(_: &Case) {
    let whole = region(4 * LEAF);
    let start = map_all(whole, READ_WRITE);
    (0..4).for_each(|leaf| poke(start + leaf * LEAF, leaf + 1));
    let middle = done!(
        Derive::new(Rights::all()).part(LEAF, 2 * LEAF).of(whole),
        "a part"
    );
    let info = done!(cap_info(middle), "cap_info");
    same!((info.offset, info.len), (LEAF, 2 * LEAF), "what it covers");
    let mapped = map_all(middle, READ_WRITE);
    same!((peek(mapped), peek(mapped + LEAF)), (2, 3), "its bytes");
    for (offset, len) in [
        (2 * LEAF, 0),
        (0, 3 * LEAF),
        (LEAF, 2 * LEAF),
        (!0 << 21, LEAF),
    ] {
        let refused = map(middle, 0, offset, len, READ_WRITE, MapFlags::empty());
        refused!(refused, Error::Range, "mapping {offset:#x} {len:#x}");
        refused!(region_commit(middle, offset, len), Error::Range, "filling");
        let flags = rt::SnapshotFlags::empty();
        let copied = region_snapshot(middle, offset, len, flags);
        refused!(copied, Error::Range, "copying");
    }
    let wider = Derive::new(Rights::all()).part(0, 3 * LEAF).of(middle);
    refused!(wider, Error::Range, "a wider part");
    let last = done!(
        Derive::new(Rights::all()).part(LEAF, 0).of(middle),
        "a part of it"
    );
    same!(peek(map_all(last, Rights::READ)), 3, "its bytes");
    refused!(
        Derive::new(Rights::all()).part(4096, 0).of(whole),
        Error::Align,
        "a part in pages"
    );
}

pub fn one_shot(_: &Case) {
    let whole = region(4096);
    let once = done!(Derive::new(Rights::all()).one_shot().of(whole), "one use");
    same!(
        done!(cap_info(once), "cap_info").flags,
        DeriveFlags::ONE_SHOT.bits(),
        "what it is"
    );
    refused!(cap_derive(once, Rights::READ), Error::Denied, "deriving");
    refused!(region_commit(once, 1, 0), Error::Align, "a call that fails");
    done!(region_commit(once, 0, 0), "its one use");
    refused!(region_commit(once, 0, 0), Error::BadHandle, "another");
    refused!(cap_drop(once), Error::BadHandle, "giving it back");
    same!(
        done!(cap_info(whole), "cap_info").descendants,
        0,
        "nothing is left"
    );
}

pub fn looked_up_twice(case: &Case) {
    let running = case.child("idle");
    let running = done!(running.start(), "a process");
    let once = |handle| done!(Derive::new(Rights::all()).one_shot().of(handle), "one use");
    let wait = |handle: Handle, ms| {
        let mut status = rt::ProcessStatus::default();
        let pointer = UserPtr::new((&raw mut status) as u64);
        // SAFETY: the pointer leads to `status`.
        unsafe { sys::process_wait(handle, rt::in_ms(ms), pointer) }
    };
    let waits = once(running.handle());
    refused!(wait(waits, 1), Error::TimedOut, "waiting in vain");
    done!(running.kill(), "ending it");
    done!(wait(waits, 10_000), "waiting for its end");
    refused!(wait(waits, 1), Error::BadHandle, "waiting again");
    let pages = region(8192);
    let start = map_all(pages, READ_WRITE);
    poke(start, 5);
    let copies = once(pages);
    // SAFETY: the region is seen through `peek` and `poke`.
    let copy = || unsafe { sys::region_copy(copies, 4096, copies, 0, 4096) };
    same!(copy(), Ok(4096), "copying inside it");
    same!(peek(start + 4096), 5, "what was copied");
    refused!(copy(), Error::BadHandle, "copying again");
}

pub fn badge_and_budget(_: &Case) {
    let whole = region(4096);
    let badged = Derive::new(Rights::all()).badge(5).nodes(3);
    let badged = done!(badged.of(whole), "a badge");
    let other = Derive::new(Rights::all()).badge(6).of(badged);
    refused!(other, Error::Exists, "another badge");
    for _ in 0..3 {
        let below = done!(cap_derive(badged, Rights::all()), "deriving");
        same!(done!(cap_info(below), "cap_info").badge, 5, "inherited");
    }
    refused!(cap_derive(badged, Rights::READ), Error::Limit, "the fourth");
    done!(cap_derive(whole, Rights::READ), "deriving beside it");
    refused!(
        Derive::new(Rights::all()).badge(1 << 63).of(whole),
        Error::Invalid,
        "a badge of 64 bits"
    );
}

/// What shares a capability out of which nothing more can be derived is refused, and says so as the table does.
pub fn spent(case: &Case) {
    let whole = region(4096);
    let spent = done!(Derive::new(Rights::all()).nodes(1).of(whole), "a budget");
    done!(cap_derive(spent, Rights::READ), "using it up");
    let (here, there) = done!(rt::channel(2), "a channel");
    let caller = rt::Thread::spawn(move || {
        let answer = done!(there.call(&mut Message::new(b"call"), FOREVER), "a call");
        same!(answer.bytes(), b"done", "its answer");
        there
    });
    let caller = done!(caller, "a thread");
    let mut call = done!(here.receive(FOREVER), "the call");
    let mut reply = call.take_reply();
    let message = || Message::new(b"it").share(spent, Rights::READ);
    refused!(here.send(&mut message(), 0), Error::Limit, "sending");
    let called = here.call(&mut message(), FOREVER);
    refused!(called, Error::Limit, "calling");
    let right = done!(reply.as_mut().ok_or(Error::NotFound), "a right to reply");
    refused!(right.send(&mut message()), Error::Limit, "answering");
    let served = here.reply_and_receive(&mut reply, &mut message(), 0);
    refused!(served, Error::Limit, "answering and receiving");
    let started = case.child("idle").handle(spent, Mode::Share, Rights::READ);
    refused!(started.start(), Error::Limit, "starting a process");
    let (via, _other) = crate::calls::small_ring();
    let flags = GrantFlags::empty();
    let granted = crate::calls::grant(spent, via, Mode::Share, Rights::READ, flags);
    refused!(granted, Error::Limit, "granting");
    same!(
        done!(cap_info(spent), "cap_info").descendants,
        1,
        "below it"
    );
    let right = done!(reply.as_mut().ok_or(Error::NotFound), "the right still");
    done!(right.send(&mut Message::new(b"done")), "answering");
    drop(done!(caller.join(), "its end"));
}

pub fn deadline(case: &Case) {
    let whole = region(4096);
    let mine = map_all(whole, READ_WRITE);
    let past = Derive::new(Rights::all()).until(1).of(whole);
    refused!(past, Error::TimedOut, "a deadline in the past");
    let short = Derive::new(Rights::all()).until(rt::now_ns() + SOON);
    let short = done!(short.of(whole), "a deadline");
    let below = done!(cap_derive(short, Rights::all()), "deriving");
    let mapped = map_all(below, READ_WRITE);
    poke(mapped, 4);
    let end = rt::in_ms(5000);
    while cap_info(below).is_ok() {
        check!(rt::now_ns() < end, "it lives on");
    }
    refused!(cap_info(below), Error::Revoked, "below it");
    refused!(cap_info(short), Error::Revoked, "itself");
    // Its mappings go when the clock is looked at.
    crate::check::eventually("its mapping to be gone", || {
        crate::calls::region_info(whole).is_ok_and(|info| info.mappings == 1)
    });
    same!(peek(mine), 4, "what is not below it");
    done!(unmap(mapped), "the addresses");
    // A process that reads on another CPU meanwhile dies of it.
    let short = Derive::new(Rights::all()).until(rt::now_ns() + 20 * SOON);
    let short = done!(short.of(whole), "a deadline");
    let (process, flag) = worker(case, "read_for_ever", short, Rights::READ);
    worker_faults(&process, flag);
}

pub fn reduce(case: &Case) {
    let whole = region(4096);
    let top = done!(cap_derive(whole, Rights::all()), "deriving");
    let (process, flag) = worker(case, "read_for_ever", top, Rights::READ);
    done!(rt::reduce(top, !Rights::WRITE), "reducing");
    same!(
        done!(cap_info(top), "cap_info").rights & Rights::WRITE.bits(),
        0,
        "what it allows"
    );
    done!(rt::reduce(top, Rights::REVOKE), "reducing");
    worker_faults(&process, flag);
    refused!(
        map(top, 0, 0, 0, Rights::READ, MapFlags::empty()),
        Error::Denied,
        "mapping"
    );
    map_all(whole, READ_WRITE);
}

pub fn itself(_: &Case) {
    let whole = region(4096);
    let top = done!(cap_derive(whole, Rights::all()), "deriving");
    done!(cap_derive(top, Rights::READ), "deriving");
    same!(rt::revoke_all(top), Ok(2), "capabilities that died");
    refused!(cap_info(top), Error::Revoked, "itself");
    same!(rt::revoke_all(whole), Ok(1), "the first one");
    refused!(cap_info(whole), Error::Revoked, "the first one");
    done!(cap_drop(whole), "giving a dead handle back");
}

pub fn grant_deadline(_: &Case) {
    let (here, there) = crate::calls::small_ring();
    let moved = region(4096);
    let until = |deadline| {
        // SAFETY: the region is not mapped.
        unsafe {
            let flags = GrantFlags::empty();
            sys::grant(moved, here, Mode::Move, Rights::all(), flags, deadline)
        }
    };
    refused!(until(1), Error::TimedOut, "a deadline in the past");
    let token = done!(until(rt::now_ns() + SOON), "a grant");
    crate::check::eventually("the region to come back", || cap_info(moved).is_ok());
    refused!(
        rt::accept(token, there),
        Error::NotFound,
        "an expired token"
    );
    let token = done!(until(FOREVER), "a grant");
    let back = done!(rt::accept(token, there), "a token in time");
    refused!(cap_info(moved), Error::BadHandle, "the old handle");
    done!(cap_drop(back), "dropping");
}

pub fn many_holders(case: &Case) {
    let shared = region(4096);
    let mine = map_all(shared, READ_WRITE);
    let child = || {
        let rights = READ_WRITE | Rights::MAP | Rights::DUPLICATE;
        let child = case.child("holder").handle(shared, Mode::Share, rights);
        done!(child.start(), "starting a holder")
    };
    for round in 0..2 {
        poke(mine, 0);
        let holders: [_; HOLDERS] = core::array::from_fn(|_| child());
        crate::check::eventually("all holders to be there", || peek(mine) >= HOLDERS as u64);
        let revoked = done!(rt::revoke(shared), "revoking");
        check!(revoked >= HOLDERS as u64, "{revoked} died");
        // It is nobody else's any more.
        let value = 77 + round;
        poke(mine, value);
        for holder in &holders {
            let status = done!(holder.wait(rt::in_ms(10_000)), "the end of a holder");
            same!(status.vector, 14, "how it ended");
        }
        same!(peek(mine), value, "what nobody else can write");
    }
}

/// The roles of children here.
pub fn child(role: &str, env: &rt::Env) -> Option<u8> {
    match role {
        "holder" => {
            let mapped = map_all(env.handle(0), READ_WRITE);
            // SAFETY: an aligned word that is mapped until the page fault that ends this process.
            let word = unsafe { core::sync::atomic::AtomicU64::from_ptr(mapped as *mut u64) };
            let before = word.fetch_add(1, core::sync::atomic::Ordering::SeqCst);
            loop {
                peek(mapped);
                // Some look all the time, most now and then: all of them would take long.
                if before.is_multiple_of(10) {
                    crate::calls::yield_now();
                } else {
                    done!(rt::sleep_until(rt::in_ms(10)), "sleeping");
                }
            }
        }
        _ => None,
    }
}
