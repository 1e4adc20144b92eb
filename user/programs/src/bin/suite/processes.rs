//! Processes: how they begin, share CPUs, and end.

use core::sync::atomic::{AtomicU64, Ordering};

use abi::limits::{MAX_ARGS, MAX_PROCESSES};
use rt::{Env, Error, FOREVER, Handle, Mode, Process, ProcessState, Resources, Rights, Spawn};

mod registers;

use crate::Case;
use crate::calls::{
    READ_WRITE, cap_info, cap_same, map_all, peek, poke, process_kill, region, ring_wait,
    small_ring, yield_now,
};
use crate::check::{eventually, exits, other_cpu, succeeds, wait};

pub use registers::{selectors, vector_state};

const ACCESS: Rights = READ_WRITE.union(Rights::MAP);

fn start(spawn: Spawn<'_>) -> Process {
    done!(spawn.start(), "starting a child")
}

pub fn arguments(case: &Case) {
    let long = "x".repeat(5000);
    let (first, second) = (region(4096), region(8192));
    let child = case
        .child("arguments")
        .arg("")
        .arg("two words")
        .arg(&long)
        .handle(second, Mode::Share, Rights::INSPECT)
        .handle(first, Mode::Move, Rights::INSPECT)
        .handle(second, Mode::Share, Rights::INSPECT | Rights::READ);
    succeeds(&start(child));
    refused!(cap_info(first), Error::BadHandle, "what was moved");
    done!(cap_info(second), "what was shared");
    let too_long = "x".repeat(MAX_ARGS as usize);
    refused!(
        case.child("arguments").arg(&too_long).start(),
        Error::TooLarge,
        "too many arguments"
    );
}

pub fn exit_status(case: &Case) {
    for status in [0, 1, 42, 255] {
        let child = start(case.child("exit").arg(&alloc::format!("{status}")));
        let ended = wait(&child);
        same!(
            (ended.state, ended.status, ended.vector),
            (ProcessState::Exited as u32, status, 0),
            "how it ended"
        );
        exits(&child, status);
        same!(
            done!(child.info(), "process_info").state,
            ProcessState::Exited as u32,
            "its state"
        );
        done!(child.kill(), "killing what has ended");
        exits(&child, status);
    }
}

pub fn wait_deadline(case: &Case) {
    let child = start(case.child("spin").cpus(other_cpu()));
    refused!(child.wait(0), Error::WouldBlock, "without waiting");
    for _ in 0..5 {
        let limit = rt::in_ms(3);
        refused!(child.wait(limit), Error::TimedOut, "waiting");
        check!(rt::now_ns() >= limit, "the wait ended before its deadline");
    }
    done!(child.kill(), "killing");
    let _ = wait(&child);
}

fn is_killed(child: &Process) {
    done!(child.kill(), "killing");
    same!(
        wait(child).state,
        ProcessState::Killed as u32,
        "how it ended"
    );
}

pub fn kill_spinning(case: &Case) {
    for cpus in [1, other_cpu()] {
        let child = start(case.child("spin").cpus(cpus));
        yield_now();
        is_killed(&child);
        // One that has not begun.
        is_killed(&start(case.child("spin").cpus(cpus)));
    }
    let helpless = done!(
        crate::calls::cap_derive(start(case.child("nothing")).handle(), Rights::WAIT),
        "deriving"
    );
    refused!(process_kill(helpless), Error::Denied, "without DESTROY");
}

pub fn kill_sleeping(case: &Case) {
    for cpus in [1, other_cpu()] {
        let consumer = small_ring().1;
        let board = region(4096);
        let flag = map_all(board, READ_WRITE);
        let child = start(
            case.child("sleep")
                .handle(consumer, Mode::Move, Rights::all())
                .handle(board, Mode::Share, ACCESS)
                .cpus(cpus),
        );
        eventually("the child to begin", || peek(flag) != 0);
        refused!(child.wait(rt::in_ms(3)), Error::TimedOut, "it sleeps");
        is_killed(&child);
    }
    // One that waits for another process.
    let spinner = start(case.child("spin").cpus(other_cpu()));
    let child = start(
        case.child("wait")
            .handle(spinner.handle(), Mode::Share, Rights::WAIT),
    );
    refused!(child.wait(rt::in_ms(3)), Error::TimedOut, "it waits");
    is_killed(&child);
    is_killed(&spinner);
}

pub fn preemption(case: &Case) {
    let spinners = [(); 3].map(|()| start(case.child("spin").cpus(1)));
    for _ in 0..5 {
        exits(&start(case.child("exit").arg("7").cpus(1)), 7);
    }
    for spinner in &spinners {
        is_killed(spinner);
    }
}

pub fn many(case: &Case) {
    let board = region(4096);
    let page = map_all(board, READ_WRITE);
    let children = [(); 64].map(|()| start(case.child("count").handle(board, Mode::Share, ACCESS)));
    eventually("all of them to run", || peek(page) == 64);
    poke(page + 8, 1);
    children.iter().for_each(succeeds);
}

pub fn too_many(case: &Case) {
    let mut children = alloc::vec::Vec::new();
    let refusal = loop {
        match case.child("idle").start() {
            Ok(child) => children.push(child),
            Err(error) => break error,
        }
        check!(children.len() <= MAX_PROCESSES, "there is no limit");
    };
    check!(
        matches!(refusal, Error::Limit | Error::NoMemory),
        "the last answer: {refusal}"
    );
    for child in &children {
        done!(child.kill(), "killing");
        let _ = wait(child);
    }
    drop(children);
    eventually("a place to be free", || {
        case.child("nothing").start().is_ok()
    });
}

pub fn refused_spawn(case: &Case) {
    let (moved, shared) = (region(4096), region(4096));
    let mapping = map_all(moved, READ_WRITE);
    poke(mapping, 9);
    let fresh = |mode, handle| {
        case.child("nothing")
            .handle(shared, Mode::Share, ACCESS)
            .handle(handle, mode, ACCESS)
    };
    let before = done!(cap_info(shared), "cap_info").descendants;
    refused!(
        fresh(Mode::Move, moved)
            .handle(moved, Mode::Move, ACCESS)
            .start(),
        Error::Overlap,
        "one handle moved twice"
    );
    refused!(
        fresh(Mode::Move, moved)
            .handle(moved, Mode::Share, ACCESS)
            .start(),
        Error::Overlap,
        "one handle moved and shared"
    );
    let forged = Spawn::new(case.image, "x\n#exit 0");
    refused!(forged.start(), Error::Invalid, "a name of two lines");
    refused!(
        fresh(Mode::Share, Handle::NONE).start(),
        Error::BadHandle,
        "no handle"
    );
    let unmovable = done!(
        crate::calls::cap_derive(moved, Rights::GRANT | Rights::INSPECT),
        "deriving"
    );
    refused!(
        fresh(Mode::Move, unmovable).start(),
        Error::Denied,
        "moving without MOVE"
    );
    refused!(
        fresh(Mode::Share, shared).cpus(1 << 63).start(),
        Error::Invalid,
        "a CPU that is not there"
    );
    refused!(
        Spawn::new(shared, "never").start(),
        Error::WrongKind,
        "a region as a program"
    );
    same!(
        done!(cap_info(shared), "cap_info").descendants,
        before,
        "what is below the shared one"
    );
    done!(cap_info(moved), "the one that was to be moved");
    same!(peek(mapping), 9, "its mapping");
    same!(cap_same(moved, shared), Ok(false), "they are two");
}

pub fn poor_children(case: &Case) {
    let (moved, shared) = (region(4096), region(4096));
    let child = |bytes| {
        case.child("exit")
            .arg("3")
            .handle(moved, Mode::Move, ACCESS)
            .handle(shared, Mode::Share, ACCESS)
            .quota(Resources::bytes(bytes))
    };
    let mut refusals = 0;
    // What the records take decides where it ends: each is a multiple of this.
    for bytes in (0..).step_by(64).skip(1) {
        match child(bytes).start() {
            Ok(child) => {
                exits(&child, 3);
                break;
            }
            Err(error) => same!(error, Error::Quota, "a child with {bytes} bytes"),
        }
        refusals += 1;
        done!(cap_info(moved), "what was to be moved");
        same!(
            done!(cap_info(shared), "what was to be shared").descendants,
            0,
            "what is below it"
        );
    }
    check!(refusals > 100, "after {refusals} refusals");
    refused!(cap_info(moved), Error::BadHandle, "what was moved");
}

static COUNTER: AtomicU64 = AtomicU64::new(41);

pub fn separate_images(case: &Case) {
    COUNTER.store(7, Ordering::Relaxed);
    exits(&start(case.child("counter")), 42);
    exits(&start(case.child("counter")), 42);
    same!(COUNTER.load(Ordering::Relaxed), 7, "the case's own");
}

pub fn bases(case: &Case) {
    let base = |_| wait(&start(case.child("base"))).status;
    let bases: [u32; 4] = core::array::from_fn(base);
    check!(
        bases.iter().any(|base| *base != bases[0]),
        "four processes have their mappings at one place"
    );
}

/// The roles of children here.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    match role {
        "arguments" => {
            let long = "x".repeat(5000);
            let expected = ["suite", "child", "arguments", "", "two words", &long];
            check!(env.args().eq(expected), "the arguments are not as given");
            same!(env.handles().len(), 3, "handles");
            let info = |index| done!(cap_info(env.handle(index)), "handle {index}");
            let length = |index| {
                done!(
                    crate::calls::region_info(env.handle(index)),
                    "handle {index}"
                )
                .len
            };
            same!([0, 1, 2].map(length), [8192, 4096, 8192], "the lengths");
            same!(
                info(2).rights,
                (Rights::INSPECT | Rights::READ).bits(),
                "the rights"
            );
            same!(info(0).rights, Rights::INSPECT.bits(), "the rights");
        }
        "exit" => return Some(crate::number(env, 0) as u8),
        // Some bits of the GiB.
        "base" => return Some((map_all(region(4096), READ_WRITE) >> 30) as u8),
        "selectors" => registers::keep_selectors(crate::number(env, 0)),
        "spin" => loop {
            crate::check::spin_a_while();
        },
        "idle" => {
            // Where memory has run out there is nothing to sleep at, and nothing to stay for.
            if let Ok((_peer, end)) = rt::ring(64, 16) {
                let answer = ring_wait(end, 1, FOREVER);
                check!(false, "the sleep ended: {answer:?}");
            }
        }
        "sleep" => {
            poke(map_all(env.handle(1), READ_WRITE), 1);
            let answer = ring_wait(env.handle(0), 1, FOREVER);
            check!(false, "the sleep ended: {answer:?}");
        }
        "wait" => {
            let mut status = rt::ProcessStatus::default();
            let pointer = abi::UserPtr::new((&raw mut status) as u64);
            // SAFETY: the pointer leads to `status`.
            let answer = unsafe { rt::sys::process_wait(env.handle(0), FOREVER, pointer) };
            check!(false, "the wait ended: {answer:?}");
        }
        "count" => {
            let page = map_all(env.handle(0), READ_WRITE);
            // SAFETY: all that share the word use it as an atomic one.
            let count = unsafe { AtomicU64::from_ptr(page as *mut u64) };
            count.fetch_add(1, Ordering::Relaxed);
            let nobody = small_ring().1;
            while peek(page + 8) == 0 {
                refused!(ring_wait(nobody, 1, rt::in_ms(1)), Error::TimedOut, "a nap");
            }
        }
        "counter" => return Some(COUNTER.fetch_add(1, Ordering::Relaxed) as u8 + 1),
        "vectors" => {
            let pattern = crate::number(env, 0) * 0x0101_0101_0101_0101;
            for turn in 0..300 {
                let number = if turn % 2 == 0 {
                    abi::Syscall::Nop
                } else {
                    abi::Syscall::ThreadYield
                };
                check!(
                    registers::vectors_survive(pattern, number as u64),
                    "a register changed in turn {turn}"
                );
            }
        }
        _ => return None,
    }
    Some(0)
}
