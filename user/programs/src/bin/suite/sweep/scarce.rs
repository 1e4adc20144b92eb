//! The kernel's own calls, and those that draw on promises, while memory gets less by a page at a time
//! until there is none: what is refused is NoMemory and changes nothing (I9).

use alloc::string::String;
use alloc::vec::Vec;
use alloc::{format, vec};

use abi::limits::PAGE_SIZE;
use programs::archive::Place;
use programs::held::Held;
use rt::{
    Error, Handle, Mode, Notification, Process, Region, RegionFlags, Rights, SnapshotFlags,
    UserPtr, sys,
};

use super::{place_of, start_thread};
use crate::Case;
use crate::calls::{
    READ_WRITE, cap_drop, cap_info, image_create, map_all, peek, poke, protect, region,
    region_commit, region_create, region_decommit, region_seal, region_snapshot, unmap,
};

/// Frames that are free when it begins: more than a process takes.
const BEGINS_WITH: u64 = 500;
/// A third of the handles of what uses the kernel's heap up, and messages of channels for that.
const ROOM: u64 = 600;
const CHANNELS: [u32; 3] = [64, 16, 4];
/// Pages of each of the regions that use memory up, and that are given back one by one.
const FEW: u64 = 8;
/// Slots of the trace that is asked for.
const SLOTS: u32 = 256;
/// Pages of what is filled and given back.
const PAGES: u64 = 8;
/// How long what was begun may take to be gone, in ms.
const SETTLE_MS: u64 = 2_000;

/// What the calls are made with.
struct Bench<'a> {
    case: &'a Case,
    /// Of a program.
    place: Place,
    /// Given to a child, which gives nothing back.
    gift: Handle,
    /// One of which pages are filled.
    filled: Handle,
    /// Where it is mapped.
    at: u64,
    /// Those that are not sealed yet, and those that share their table with a snapshot.
    unsealed: Vec<Handle>,
    sharing: Vec<Handle>,
    /// What is to be dropped at the end.
    all: Vec<Handle>,
}

/// A call, with what takes back what it made.
type Attempt = fn(&mut Bench<'_>) -> Result<(), Error>;

/// The calls, and whether memory that is missing makes each of them fail.
const ATTEMPTS: [(&str, Attempt, bool); 9] = [
    ("process_spawn", spawn, true),
    ("thread_spawn", |_| cap_drop(start_thread()?), true),
    ("image_create", image, true),
    ("trace_start", trace, true),
    ("debug_write", |_| write(), true),
    ("region_seal", seal, false),
    ("region_commit", commit, false),
    ("region_decommit", decommit, false),
    ("protect", narrow, false),
];

fn spawn(bench: &mut Bench<'_>) -> Result<(), Error> {
    let child = bench.case.child("nothing").stopped();
    let child = child.handle(bench.gift, Mode::Share, Rights::READ);
    let process: Process = child.start()?;
    process.kill()?;
    process.wait(rt::in_ms(SETTLE_MS)).map(drop)
}

fn image(bench: &mut Bench<'_>) -> Result<(), Error> {
    let Place { offset, len, .. } = bench.place;
    cap_drop(image_create(bench.case.initrd, offset, len)?)
}

fn trace(bench: &mut Bench<'_>) -> Result<(), Error> {
    // SAFETY: the call touches no memory.
    cap_drop(unsafe { sys::trace_start(bench.case.devices, SLOTS) }?)
}

/// Writes nothing, which takes as much as anything.
fn write() -> Result<(), Error> {
    // SAFETY: no byte is read.
    unsafe { sys::debug_write(UserPtr::new([0_u8; 1].as_ptr() as u64), 0) }.map(drop)
}

fn seal(bench: &mut Bench<'_>) -> Result<(), Error> {
    let Some(&next) = bench.unsealed.last() else {
        return Err(Error::NotFound);
    };
    region_seal(next)?;
    bench.unsealed.pop();
    Ok(())
}

fn commit(bench: &mut Bench<'_>) -> Result<(), Error> {
    region_commit(bench.filled, 0, PAGES / 2 * PAGE_SIZE)?;
    // It needs no memory where nothing is shared.
    let given_back = region_decommit(bench.filled, 0, PAGES / 2 * PAGE_SIZE);
    given_back.map_err(|_| Error::Unsupported)
}

fn decommit(bench: &mut Bench<'_>) -> Result<(), Error> {
    let Some(&next) = bench.sharing.last() else {
        return Err(Error::NotFound);
    };
    region_decommit(next, 0, PAGE_SIZE)?;
    bench.sharing.pop();
    Ok(())
}

fn narrow(bench: &mut Bench<'_>) -> Result<(), Error> {
    protect(bench.at, Rights::READ)?;
    protect(bench.at, READ_WRITE)
}

/// What happened to one of the calls.
#[derive(Clone, Copy, Default)]
struct Tally {
    done: u64,
    refused: u64,
}

fn free() -> u64 {
    let info = done!(rt::system_info(), "system_info");
    info.frames_free - info.frames_reserved
}

pub fn scarce(case: &Case) {
    // What grows once grows before.
    prepare(case, BEGINS_WITH + ROOM).finish();
    let begun = done!(Held::now(), "counters");
    let bench = &mut prepare(case, BEGINS_WITH);
    let most = free() - BEGINS_WITH;
    let hog = done!(Region::create(most * PAGE_SIZE), "a region of {most} pages");
    let mut tallies = [Tally::default(); ATTEMPTS.len()];
    // Nobody could be told before there is memory again.
    let ended = until_there_is_none(bench, &mut tallies);
    drop(hog);
    match ended {
        Ok(steps) => check!(steps > BEGINS_WITH / 2, "memory ends after {steps} steps"),
        Err(why) => check!(false, "{why}"),
    }
    for ((name, _, fails), tally) in ATTEMPTS.into_iter().zip(tallies) {
        let Tally { done, refused } = tally;
        let as_expected = done > 0 && (refused > 0 || !fails);
        check!(as_expected, "{name}: {done} times done, {refused} refused");
    }
    same!(peek(bench.at + (PAGES - 1) * PAGE_SIZE), PAGES, "a word");
    bench.finish();
    let now = begun.restored(rt::in_ms(SETTLE_MS));
    check!(now.is_ok(), "{begun:?} became {now:?}");
}

/// Tries all calls with a page less each time, and then with nothing left of the kernel's heap either. After
/// how many steps memory ended.
fn until_there_is_none(
    bench: &mut Bench<'_>,
    tallies: &mut [Tally; ATTEMPTS.len()],
) -> Result<u64, String> {
    let take = |pages| region_create(pages * PAGE_SIZE, RegionFlags::empty(), u64::MAX);
    let mut steps = 0;
    while steps < BEGINS_WITH
        && let Ok(filler) = take(steps + 1)
    {
        let tried = all(bench, tallies);
        let _ = cap_drop(filler);
        tried?;
        steps += 1;
    }
    let mut fillers = Vec::with_capacity(BEGINS_WITH as usize);
    while let Ok(few) = take(FEW) {
        fillers.push(few);
    }
    let mut rest = Vec::with_capacity(3 * ROOM as usize);
    let mut fill = |make: &dyn Fn() -> Result<[Handle; 2], Error>| {
        while rest.len() + 2 <= rest.capacity()
            && let Ok(made) = make()
        {
            rest.extend(made);
        }
    };
    fill(&|| Ok([take(1)?, Handle::NONE]));
    for messages in CHANNELS {
        fill(&|| {
            let (first, second) = rt::channel(messages)?;
            Ok([first.into_handle(), second.into_handle()])
        });
    }
    fill(&|| Ok([Notification::create()?.into_handle(), Handle::NONE]));
    let tried = all(bench, tallies).and_then(|()| many_pieces(&mut fillers));
    for handle in fillers.into_iter().chain(rest) {
        let _ = cap_drop(handle);
    }
    tried.map(|()| steps)
}

/// Gives back of the `fillers` until all is promised again that calls need, while nothing of the kernel's heap is free and
/// hardly anything else; and asks for more larger pieces than may be taken of that: they leave what can't fail enough.
fn many_pieces(fillers: &mut Vec<Handle>) -> Result<(), String> {
    /// More than a call may draw in larger pieces and what was given back in vain, and fewer than are made without
    /// another promise.
    const PIECES: u64 = 48;
    /// Slots of each.
    const BLOCK: u64 = 64;
    while Notification::create().is_err() {
        let few = fillers.pop().ok_or("nothing can be promised any more")?;
        cap_drop(few).map_err(|error| format!("giving back: {error}"))?;
    }
    // SAFETY: the call touches no memory.
    match unsafe { sys::sub_slots(PIECES * BLOCK, PIECES * BLOCK) } {
        Err(Error::NoMemory) => Ok(()),
        other => Err(format!("sub_slots: {other:?}")),
    }
}

/// Tries all calls once, and compares what is held with what was before. The error says what differs.
fn all(bench: &mut Bench<'_>, tallies: &mut [Tally; ATTEMPTS.len()]) -> Result<(), String> {
    for ((name, attempt, _), tally) in ATTEMPTS.into_iter().zip(tallies) {
        let before = Held::now();
        let before = before.map_err(|error| format!("{name}: counters: {error}"))?;
        let deadline = rt::in_ms(SETTLE_MS);
        let compared = match attempt(bench) {
            Ok(()) => {
                tally.done += 1;
                // Pages that were promised may have been filled.
                before.besides_frames(deadline)
            }
            Err(Error::NoMemory) => {
                tally.refused += 1;
                before.besides_promises(deadline)
            }
            Err(error) => return Err(format!("{name}: {error}")),
        };
        if let Err(now) = compared {
            return Err(format!("{name}: {before:?} became {now:?}"));
        }
        if cap_info(bench.gift).is_err() {
            return Err(format!("{name}: what was to be given is gone"));
        }
    }
    Ok(())
}

/// What the calls can be made with so many times, after they were made once.
fn prepare(case: &Case, times: u64) -> Bench<'_> {
    let filled = region(PAGES * PAGE_SIZE);
    let at = map_all(filled, READ_WRITE);
    for page in 0..PAGES {
        poke(at + page * PAGE_SIZE, page + 1);
    }
    let gift = region(PAGE_SIZE);
    let unsealed = Vec::from_iter((0..=times).map(|_| region(PAGE_SIZE)));
    let sharing = Vec::from_iter((0..=times).map(|_| region(2 * PAGE_SIZE)));
    let mut all = vec![filled, gift];
    all.extend(unsealed.iter().chain(&sharing));
    for &region in &sharing {
        let copy = region_snapshot(region, 0, 2 * PAGE_SIZE, SnapshotFlags::empty());
        all.push(done!(copy, "a snapshot"));
    }
    let mut bench = Bench {
        case,
        place: place_of(case.initrd, "consumer"),
        gift,
        filled,
        at,
        unsealed,
        sharing,
        all,
    };
    for (name, attempt, _) in ATTEMPTS {
        done!(attempt(&mut bench), "{name}, with all memory");
    }
    // A thread that has ended keeps its stack until its CPU idles.
    done!(rt::sleep_until(rt::in_ms(SETTLE_MS / 100)), "waiting");
    bench
}

impl Bench<'_> {
    fn finish(&mut self) {
        done!(unmap(self.at), "unmapping");
        for handle in self.all.drain(..) {
            done!(cap_drop(handle), "dropping");
        }
    }
}
