//! Everything that can be done at a hub, at once: guests on every CPU join, claim, speak, hand on and leave, one thread
//! of the host serves them, another dismisses and kills them, and at some moment the hub ends. Then nobody sleeps on,
//! and everything is as it was.
//!
//! What is done when follows from one number, which follows from the seed of the schedule.

mod guest;
mod host;

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use abi::ProcessState;
use fastrand::Rng;
use programs::held::Held;
use rt::hub::{Host, HubGeometry, HubSeat, PeerState};
use rt::{Env, Error, Mode, Notification, Process, Rights};

use crate::Case;
use crate::calls::{READ_WRITE, cap_drop, map_all, region, unmap};
use crate::check::{PAGE_FAULT, SOON_MS, cpus, wait};
use crate::threads::{HERE, join, spawn};

/// Hubs that come and go in a run.
const HUBS: u32 = 24;
/// Seats of each, and guests, of whom each two have a channel.
const SEATS: u32 = 3;
const GUESTS: usize = 4;

const SLOT: u32 = 64;
/// Bytes of a message.
const MESSAGE: usize = SLOT as usize - 8;

/// How a hub ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// When every guest has ended by itself: none of them, nor the host, is woken by the end of anything.
    Late,
    /// Its capability is revoked, and with it what guests join by.
    Revoke,
    /// It says goodbye, and every guest leaves before it is dropped.
    Goodbye,
    /// Its last capability is dropped, without a word.
    Drop,
    /// As it is dropped, another thread says goodbye.
    Both,
}

impl End {
    fn any(random: &mut Rng) -> End {
        match random.u8(..8) {
            0 => End::Revoke,
            1 => End::Drop,
            2..4 => End::Late,
            4..7 => End::Goodbye,
            _ => End::Both,
        }
    }
}

/// What the threads of the host share.
struct Scene {
    host: Host,
    guests: Vec<Process>,
    /// Whether it has said goodbye, and nobody comes any more.
    leaving: AtomicBool,
}

/// A CPU, as a bit.
fn any_cpu(random: &mut Rng) -> u64 {
    1 << random.u32(..cpus())
}

/// What [`pause`] takes at most, in ns, as a power of two: a few messages.
const SHORT: u32 = 17;
/// As long as some guests live.
const LONG: u32 = 22;

/// Does nothing for a while, as often a hundred times shorter than at most as it is that long.
fn pause(random: &mut Rng, most: u32) {
    let most = 1 << random.u32(most - 8..=most);
    let _ = rt::sleep_until(rt::now_ns() + random.u64(..most));
}

/// Guests that join by themselves.
fn start(case: &Case, host: &Host, end: End, random: &mut Rng) -> Vec<Process> {
    let mut guests = Vec::new();
    while guests.len() < GUESTS {
        let (here, there) = done!(rt::channel(4), "a channel");
        for other in [here, there] {
            let child = case.child("hub_racer").arg(&random.u64(..).to_string());
            let child = child.arg(&u32::from(end != End::Late).to_string());
            let child = child
                .handle(host.handle(), Mode::Share, Rights::SEND)
                .handle(other.into(), Mode::Move, Rights::all())
                .cpus(any_cpu(random));
            guests.push(done!(child.start(), "a guest"));
        }
    }
    guests
}

/// One hub, from its making until its last guest is gone.
fn one(case: &Case, random: &mut Rng) {
    let geometry = HubGeometry::slot(SEATS, SLOT, 4, 4);
    let host = done!(Host::create(&geometry), "a hub");
    let end = End::any(random);
    let guests = start(case, &host, end, random);
    let scene = Arc::new(Scene {
        host,
        guests,
        leaving: AtomicBool::new(false),
    });
    let mut thread = |body: fn(&Scene, Rng)| {
        let (scene, random_of_it) = (scene.clone(), random.fork());
        spawn(any_cpu(random), move || body(&scene, random_of_it))
    };
    let serving = thread(host::serve);
    let others = [thread(dismiss), thread(dismiss)];
    match end {
        End::Late => scene.guests.iter().for_each(|guest| _ = wait(guest)),
        _ => pause(random, LONG),
    }
    end_hub(&scene, end, random);
    join(serving);
    others.into_iter().for_each(join);
    look_at_table(&scene.host, end);
    for guest in &scene.guests {
        let ended = wait(guest);
        let in_order = ended.state == ProcessState::Exited as u32 && ended.status == 0;
        // What was taken away from it was touched.
        let faulted = ended.state == ProcessState::Faulted as u32 && ended.vector == PAGE_FAULT;
        let killed = ended.state == ProcessState::Killed as u32;
        check!(
            in_order || faulted || killed,
            "a guest and {end:?}: {ended:?}"
        );
    }
    check!(
        Arc::into_inner(scene).is_some(),
        "somebody has the hub still"
    );
}

fn end_hub(scene: &Arc<Scene>, end: End, random: &mut Rng) {
    let hub = scene.host.handle();
    match end {
        End::Revoke => _ = done!(rt::revoke_all(hub), "revoking"),
        End::Goodbye => {
            // Who is told of it finds that nobody comes any more.
            scene.leaving.store(true, Ordering::Release);
            done!(scene.host.goodbye(), "saying goodbye");
        }
        End::Drop | End::Late => done!(cap_drop(hub), "dropping"),
        End::Both => {
            let beside = scene.clone();
            let thread = spawn(any_cpu(random), move || match beside.host.goodbye() {
                Ok(()) | Err(Error::BadHandle) => {}
                Err(error) => check!(false, "a goodbye beside the end: {error}"),
            });
            pause(random, SHORT);
            done!(cap_drop(hub), "dropping");
            join(thread);
        }
    }
}

/// Nobody has a seat of a hub that has ended; after a goodbye every one was recovered.
fn look_at_table(host: &Host, end: End) {
    check!(!host.table().is_hosted(), "the table tells of a host");
    for peer in 1..=SEATS {
        let state = done!(host.standing(peer), "seat {peer}").state;
        let goes = match end {
            End::Goodbye => state == PeerState::Empty,
            _ => matches!(state, PeerState::Empty | PeerState::Goodbye),
        };
        check!(goes, "seat {peer} after {end:?}: {state:?}");
    }
}

/// What another thread of the host does to guests meanwhile, until there is no hub.
fn dismiss(scene: &Scene, mut random: Rng) {
    let host = &scene.host;
    for _ in 0..random.u32(2..8) {
        pause(&mut random, LONG - 2);
        let done = match random.u8(..8) {
            // Whoever may be there.
            0..3 => {
                let peer = random.u32(1..=SEATS);
                let epoch = done!(host.standing(peer), "a seat").epoch;
                host.dismiss(HubSeat { peer, epoch })
            }
            3 => {
                let guest = &scene.guests[random.usize(..GUESTS)];
                // It may have ended by itself.
                _ = guest.kill();
                Ok(())
            }
            // A seat of which nobody gets the membership.
            4 => host.reserve().and_then(|(member, _)| cap_drop(member)),
            5 => host.reserve().and_then(|(member, _)| {
                _ = rt::revoke_all(member);
                cap_drop(member)
            }),
            6 => {
                // Who has been let in before stays.
                match random.u8(..4) {
                    0 => rt::revoke(host.handle()).map(drop),
                    _ => Ok(()),
                }
            }
            _ => host.info().map(drop),
        };
        match done {
            // Somebody else was there first.
            Ok(()) | Err(Error::Full | Error::NotFound) => {}
            Err(Error::BadHandle | Error::Revoked | Error::PeerClosed) => return,
            Err(error) => check!(false, "what the host does beside: {error}"),
        }
    }
}

/// Has everything grow that grows once and stays: the tables of this process, its heap, and what its threads wait for it
/// at.
fn grow_first() {
    const HANDLES: usize = 128;
    let bits = [(); HANDLES].map(|()| done!(Notification::create(), "a notification"));
    drop(bits);
    let pages = [(); 64].map(|()| {
        let region = region(4096);
        let at = map_all(region, READ_WRITE);
        done!(cap_drop(region), "dropping");
        at
    });
    for at in pages {
        done!(unmap(at), "unmapping");
    }
    drop(vec![1_u8; 256 << 10]);
    // The lock of the heap makes a notification when somebody first has to sleep for it: two threads of one CPU meet
    // there when the one that has it uses up its slice.
    let objects = || done!(rt::system_info(), "system_info").objects;
    let before = objects();
    let stop = Arc::new(AtomicBool::new(false));
    let told = stop.clone();
    let allocate = || drop(core::hint::black_box(Box::new([0_u8; 100])));
    let other = spawn(HERE, move || {
        while !told.load(Ordering::Relaxed) {
            allocate();
        }
    });
    let limit = rt::in_ms(SOON_MS);
    // The thread and its stack are two more.
    while objects() < before + 3 {
        check!(rt::now_ns() < limit, "nobody ever waits for the heap");
        (0..1000).for_each(|_| allocate());
    }
    stop.store(true, Ordering::Relaxed);
    join(other);
}

pub fn hubs(case: &Case) {
    let seed = rt::now_ns();
    let mut random = Rng::with_seed(seed);
    grow_first();
    one(case, &mut random);
    let before = done!(Held::now(), "counters");
    for number in 0..HUBS {
        one(case, &mut random);
        if let Err(now) = before.besides_heap(rt::in_ms(SOON_MS)) {
            check!(
                false,
                "{before:?} became {now:?} with hub {number} of {seed}"
            );
        }
    }
}

/// The roles of children here.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    (role == "hub_racer").then(|| guest::run(env))
}
