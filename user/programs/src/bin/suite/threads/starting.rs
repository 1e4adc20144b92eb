//! Threads and processes that begin later, never, or not any more.

use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use abi::limits::{MAX_THREADS, PAGE_SIZE, USER_END};
use abi::{Handle, ObjectKind, ProcessState, Resources, ThreadArgs, UserPtr};
use rt::{Env, Error, Mode, Rights};

use super::{HERE, join, leave, spawn};
use crate::Case;
use crate::calls::{READ_WRITE, cap_info, map_all, peek, poke, region};
use crate::check::{SOON_MS, cpus, eventually, faults_at, other_cpu, succeeds, wait};

pub fn bad_arguments(_: &Case) {
    let stack = map_all(region(4096), READ_WRITE) + 4096;
    let entry = exit_at_once as *const () as u64;
    let good = ThreadArgs {
        entry,
        stack,
        ..ThreadArgs::default()
    };
    let begin = |args: ThreadArgs| {
        let pointer = UserPtr::new((&raw const args) as u64);
        // SAFETY: each either begins where a thread may, or is refused.
        unsafe { rt::sys::thread_spawn(pointer) }
    };
    let with = |change: fn(&mut ThreadArgs)| {
        let mut bad = good;
        change(&mut bad);
        bad
    };
    for (bad, error) in [
        (with(|args| args.entry = 0), Error::Range),
        (with(|args| args.entry = u64::MAX), Error::Range),
        (with(|args| args.entry = 1 << 47), Error::Range),
        (with(|args| args.stack = 0), Error::Range),
        (with(|args| args.stack = USER_END + 8), Error::Range),
        (with(|args| args.tls = 1 << 63), Error::Range),
        (with(|args| args.cpus = 1 << 63), Error::Invalid),
        (with(|args| args.priority = 32), Error::Invalid),
        (with(|args| args.reserved = 1), Error::Invalid),
    ] {
        refused!(begin(bad), error, "{bad:?}");
    }
    // SAFETY: the kernel reads nothing there.
    let nowhere = unsafe { rt::sys::thread_spawn(UserPtr::new(8)) };
    refused!(nowhere, Error::Fault, "no arguments");
    let handle = done!(begin(good), "a good one");
    let ended = rt::object_wait(handle, abi::Events::ENDED, rt::in_ms(SOON_MS));
    done!(ended, "its end");
    done!(rt::drop_handle(handle), "dropping");
}

/// The first code of a thread that ends at once.
pub extern "C" fn exit_at_once() -> ! {
    leave()
}

/// Uses no stack, so that any number may share one.
#[cfg(target_os = "none")]
#[unsafe(naked)]
extern "C" fn spin_without_stack() -> ! {
    core::arch::naked_asm!("2: pause", "jmp 2b")
}

#[cfg(not(target_os = "none"))]
extern "C" fn spin_without_stack() -> ! {
    super::spin()
}

/// Starts threads until it is refused.
fn crowd() {
    let stack = map_all(region(4096), READ_WRITE) + 4096;
    let args = ThreadArgs {
        entry: spin_without_stack as *const () as u64,
        stack,
        priority: 1,
        ..ThreadArgs::default()
    };
    let pointer = UserPtr::new((&raw const args) as u64);
    let mut count = 0;
    let refusal = loop {
        // SAFETY: the threads use no memory at all.
        match unsafe { rt::sys::thread_spawn(pointer) } {
            Ok(handle) => done!(rt::drop_handle(handle), "dropping {handle:?}"),
            Err(error) => break error,
        }
        count += 1;
        check!(count <= MAX_THREADS, "there is no limit");
    };
    check!(
        matches!(refusal, Error::Limit | Error::NoMemory),
        "the last answer: {refusal}"
    );
    check!(count > 16, "{count} threads are few");
}

pub fn too_many(case: &Case) {
    for _ in 0..2 {
        succeeds(&done!(case.child("threads").start(), "a child"));
    }
}

pub fn stopped(case: &Case) {
    let board = region(4096);
    let page = map_all(board, READ_WRITE);
    let child = || {
        case.child("mark")
            .handle(board, Mode::Share, READ_WRITE | Rights::MAP)
            .stopped()
    };
    let first = done!(child().start(), "a child");
    refused!(first.wait(rt::in_ms(5)), Error::TimedOut, "it has stopped");
    same!(peek(page), 0, "it has not begun");
    refused!(first.resume(77, 0), Error::NotFound, "another thread");
    refused!(first.resume(0, 1 << 47), Error::Range, "nowhere");
    done!(first.resume(0, 0), "resuming");
    refused!(first.resume(0, 0), Error::NotFound, "resuming again");
    succeeds(&first);
    same!(peek(page), 1, "it has run");
    let elsewhere = done!(child().start(), "a child");
    done!(elsewhere.resume(0, 0x20_0000), "resuming elsewhere");
    faults_at(&elsewhere, 0x20_0000);
    let killed = done!(child().start(), "a child");
    done!(killed.kill(), "killing");
    same!(
        wait(&killed).state,
        ProcessState::Killed as u32,
        "how it ended"
    );
    // Nobody could ever start it; what it holds comes back.
    drop(done!(child().start(), "a child"));
    same!(peek(page), 1, "only one has run");
}

pub fn ended_unborn(case: &Case) {
    let child = case.child("midwife").arg("0").arg("1");
    succeeds(&done!(
        child.handle(case.image, Mode::Share, Rights::all()).start(),
        "a child"
    ));
}

/// What a child may have, which is less than what it is given when that is to be refused.
const FRAMES: u64 = 2048;
/// How often a child is made, and as often refused.
const ROUNDS: usize = 30;

/// Spawns while another thread ends whatever has the handle that the next process is given. What is moved is mapped
/// there, too, so each spawn waits for the other CPU when it has begun everything.
fn spawn_and_lose(image: Handle) {
    static GUESS: AtomicU64 = AtomicU64::new(0);
    static TRIES: AtomicU64 = AtomicU64::new(0);
    static OVER: AtomicBool = AtomicBool::new(false);
    let mapped = |pages: u64| {
        let moved = region(pages * PAGE_SIZE);
        poke(map_all(moved, READ_WRITE), pages);
        moved
    };
    let huge = mapped(FRAMES);
    let small = [(); ROUNDS].map(|()| mapped(1));
    let killer = spawn(other_cpu(), || {
        while !OVER.load(Ordering::Acquire) {
            let guess = Handle::from_bits(GUESS.load(Ordering::Acquire));
            // SAFETY: the calls touch no memory.
            unsafe {
                let _ = rt::sys::process_fuse(guess, u64::MAX);
                let _ = rt::sys::process_kill(guess);
            }
            TRIES.fetch_add(1, Ordering::AcqRel);
            // An emulated machine gives the other CPUs their turn when it sees this.
            spin_loop();
        }
    });
    let long = core::str::from_utf8(&[b'x'; 2048]).unwrap_or("");
    let child = |moved| {
        let child = rt::Spawn::new(image, "suite").arg("exit").arg(long);
        child.handle(moved, Mode::Move, READ_WRITE)
    };
    let mut met = 0;
    for moved in small {
        // The other thread is at it, and tries by this guess.
        let tries = || TRIES.load(Ordering::Acquire);
        let guessed = tries();
        eventually("another try", || tries() > guessed + 1);
        let before = tries();
        // It can't pay for what it is given, which is found last.
        let poor = child(huge).quota(Resources::frames(FRAMES)).start();
        refused!(poor, Error::Quota, "a Move beyond the quota");
        same!(
            peek(map_all(huge, READ_WRITE)),
            FRAMES,
            "what was to be moved"
        );
        let born = done!(child(moved).start(), "a child");
        met += tries() - before;
        refused!(cap_info(moved), Error::BadHandle, "what was moved");
        let handle = born.handle();
        let next = Handle::new(handle.index(), handle.generation() + 1, ObjectKind::Process);
        let _ = wait(&born);
        drop(born);
        GUESS.store(next.bits(), Ordering::Release);
    }
    OVER.store(true, Ordering::Release);
    join(killer);
    check!(met > 0 || cpus() == 1, "nobody has tried meanwhile");
}

/// The roles of these cases.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    match role {
        "threads" => crowd(),
        "midwife" => {
            // This process may begin where the other thread is to be.
            let image = env.handle(0);
            join(spawn(HERE, move || spawn_and_lose(image)));
        }
        "mark" => poke(map_all(env.handle(0), READ_WRITE), 1),
        _ => return None,
    }
    Some(0)
}
