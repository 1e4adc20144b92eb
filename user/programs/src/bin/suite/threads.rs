//! Threads: several in a process, and how they end.

mod starting;

use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use abi::ProcessState;
use abi::limits::USER_END;
use rt::{Env, Error, FOREVER, Mode, Rights, Thread, ThreadSpawn};
pub use starting::{bad_arguments, ended_unborn, exit_at_once, stopped, too_many};

use crate::Case;
use crate::calls::{READ_WRITE, map_all, peek, poke, region, ring_wait, small_ring, yield_now};
use crate::check::{SOON_MS, cpus, eventually, exits, faults_at, other_cpu, succeeds, wait};

/// The CPU that everything of a case competes for.
pub const HERE: u64 = 1;

pub fn spawn<T: Send + 'static>(cpus: u64, body: impl FnOnce() -> T + Send + 'static) -> Thread<T> {
    done!(ThreadSpawn::new().cpus(cpus).start(body), "a thread")
}

pub fn join<T: Send + 'static>(thread: Thread<T>) -> T {
    done!(thread.wait(rt::in_ms(SOON_MS)), "waiting for a thread");
    done!(thread.join(), "what a thread returned")
}

fn spin() -> ! {
    loop {
        crate::check::spin_a_while();
    }
}

/// A case stays on one CPU; its children may use all.
pub fn shared_memory(case: &Case) {
    succeeds(&done!(case.child("share").start(), "a child"));
}

fn share() {
    let page = map_all(region(4096), READ_WRITE);
    let there = spawn(other_cpu(), move || {
        while peek(page) != 1 {
            yield_now();
        }
        poke(page + 8, 7);
        7
    });
    poke(page, 1);
    same!(join(there), 7, "what the other thread returned");
    same!(peek(page + 8), 7, "what it wrote");
}

pub fn unmap_elsewhere(case: &Case) {
    for turn in 0..8 {
        let board = region(4096);
        let seen = map_all(board, READ_WRITE);
        let child = case
            .child("unmapped")
            .handle(board, Mode::Share, READ_WRITE | Rights::MAP);
        let child = done!(child.start(), "a child");
        let ended = wait(&child);
        same!(
            ended.state,
            ProcessState::Faulted as u32,
            "how it ended in turn {turn} (status {})",
            ended.status
        );
        faults_at(&child, peek(seen));
    }
}

pub fn come_and_go(_: &Case) {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = || COUNT.fetch_add(1, Ordering::Relaxed);
    for _ in 0..10 {
        let threads: Vec<_> = (0..10).map(|_| spawn(0, count)).collect();
        let mut numbers: Vec<_> = threads.into_iter().map(join).collect();
        numbers.sort_unstable();
        check!(
            numbers.windows(2).all(|pair| pair[0] < pair[1]),
            "each counted once"
        );
    }
    same!(COUNT.load(Ordering::Relaxed), 100, "threads that have run");
}

/// Of processes that have a thread on every CPU, asleep in different ways or running.
pub fn exit_everywhere(case: &Case) {
    for (how, status) in [("exit", 5), ("exit-thread", 6)] {
        exits(
            &done!(case.child("crowd").arg(how).start(), "a child"),
            status,
        );
    }
    let faulty = done!(case.child("crowd").arg("fault").start(), "a child");
    faults_at(&faulty, 16);
    let killed = done!(case.child("crowd").arg("stay").start(), "a child");
    refused!(killed.wait(rt::in_ms(5)), Error::TimedOut, "it stays");
    done!(killed.kill(), "killing");
    same!(
        wait(&killed).state,
        ProcessState::Killed as u32,
        "how it ended"
    );
}

pub fn last_one(case: &Case) {
    succeeds(&done!(case.child("leave").arg("first").start(), "a child"));
    succeeds(&done!(case.child("leave").arg("alone").start(), "a child"));
}

/// The word at the base of the FS segment, as compilers read a thread-local variable.
#[cfg(target_os = "none")]
pub fn word_of_fs() -> u64 {
    let word;
    // SAFETY: the caller has set the base to a word of its own.
    unsafe { core::arch::asm!("mov {}, fs:[0]", out(reg) word, options(nostack, readonly)) };
    word
}

#[cfg(not(target_os = "none"))]
pub fn word_of_fs() -> u64 {
    0
}

/// Makes the base of FS 0 without asking the kernel.
#[cfg(target_os = "none")]
fn forget_fs() {
    // SAFETY: nothing here uses FS, and the selector is that of user data.
    unsafe { core::arch::asm!("mov fs, {0:x}", in(reg) 0x1b_u64, options(nostack)) };
}

#[cfg(not(target_os = "none"))]
fn forget_fs() {}

pub fn local_storage(_: &Case) {
    let base_of = |word: &'static AtomicU64| word.as_ptr() as u64;
    static WORDS: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
    let threads: Vec<_> = (0..4)
        .map(|index| {
            let word = &WORDS[index];
            word.store(100 + index as u64, Ordering::Relaxed);
            let spawn = ThreadSpawn::new().cpus(HERE).tls(base_of(word));
            let body = move || {
                for turn in 0..200 {
                    same!(word_of_fs(), 100 + index as u64, "the word in turn {turn}");
                    if index == 3 {
                        // What it does to itself, it does to nobody else.
                        forget_fs();
                        yield_now();
                        let base = base_of(word);
                        // SAFETY: nothing but this test uses the segment.
                        done!(unsafe { rt::set_tls_base(base) }, "setting the base");
                    } else {
                        yield_now();
                    }
                }
            };
            done!(spawn.start(body), "a thread")
        })
        .collect();
    threads.into_iter().for_each(join);
    // SAFETY: nothing here uses the segment.
    let set = |base| unsafe { rt::set_tls_base(base) };
    refused!(set(USER_END + 1), Error::Range, "a base beyond");
    refused!(set(u64::MAX), Error::Range, "a base that is not canonical");
    done!(set(0), "no base");
}

pub fn storage_in_calls(_: &Case) {
    static WORDS: [AtomicU64; 2] = [AtomicU64::new(100), AtomicU64::new(200)];
    let spawn = |index: usize| {
        let base = WORDS[index].as_ptr() as u64;
        ThreadSpawn::new().cpus(HERE).tls(base)
    };
    let (here, there) = done!(rt::channel(4), "a channel");
    let server = spawn(1).start(move || {
        there.serve_words(|words, _| {
            same!(word_of_fs(), 200, "the word of who serves");
            words
        })
    });
    let server = done!(server, "a thread");
    let caller = spawn(0).start(move || {
        for turn in 0..20 {
            let answer = here.call_words([turn, 0, 0, 0], FOREVER);
            same!(done!(answer, "a call")[0], turn, "the answer");
            same!(word_of_fs(), 100, "the word of who called in turn {turn}");
        }
    });
    join(done!(caller, "a thread"));
    same!(join(server), Error::PeerClosed, "the end of serving");
}

fn leave() -> ! {
    // SAFETY: whoever calls it has nothing on its stack that anybody needs.
    let _ = unsafe { rt::sys::thread_exit() };
    unreachable!("a thread that has ended goes on")
}

pub fn facts(case: &Case) {
    succeeds(&done!(case.child("facts").start(), "a child"));
}

fn tell_facts() {
    let before = done!(rt::system_info(), "system_info").processes;
    let thread = spawn(other_cpu(), || {
        for _ in 0..50 {
            // SAFETY: the call touches no memory.
            done!(unsafe { rt::sys::nop() }, "nothing");
        }
    });
    done!(thread.wait(rt::in_ms(SOON_MS)), "its end");
    let info = done!(thread.info(), "thread_info");
    same!(info.state, ProcessState::Exited as u32, "its state");
    check!(info.syscalls >= 50, "it made {} calls", info.syscalls);
    same!(1 << info.cpu, other_cpu(), "its CPU");
    check!(info.koid != info.process, "one number for two");
    same!(
        done!(rt::system_info(), "system_info").processes,
        before,
        "processes"
    );
}

/// The roles of children here.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    match role {
        "share" => share(),
        "facts" => tell_facts(),
        "unmapped" => {
            static UNMAPPED: AtomicBool = AtomicBool::new(false);
            static READING: AtomicBool = AtomicBool::new(false);
            let seen = map_all(env.handle(0), READ_WRITE);
            let page = map_all(region(4096), READ_WRITE);
            poke(seen, page);
            spawn(other_cpu(), move || {
                loop {
                    let unmapped = UNMAPPED.load(Ordering::SeqCst);
                    peek(page);
                    if unmapped {
                        rt::exit(9);
                    }
                    READING.store(true, Ordering::SeqCst);
                    core::hint::spin_loop();
                    if cpus() == 1 {
                        yield_now();
                    }
                }
            });
            eventually("the other thread to read", || {
                READING.load(Ordering::SeqCst)
            });
            // SAFETY: the other thread is meant to fault.
            done!(unsafe { rt::sys::unmap(page) }, "unmapping");
            UNMAPPED.store(true, Ordering::SeqCst);
            spin()
        }
        "crowd" => {
            let how = env.args().nth(3).unwrap_or("stay");
            for index in 0..cpus() {
                spawn(1 << index, || spin());
                spawn(1 << index, || rt::sleep_until(FOREVER));
            }
            let (_peer, end) = small_ring();
            spawn(0, move || ring_wait(end, 1, FOREVER));
            let thread = spawn(0, || rt::sleep_until(FOREVER));
            let handle = thread.handle();
            spawn(0, move || {
                rt::object_wait(handle, abi::Events::ENDED, FOREVER)
            });
            done!(rt::sleep_until(rt::in_ms(4)), "sleeping");
            match how {
                "exit" => return Some(5),
                "exit-thread" => {
                    spawn(other_cpu(), || rt::exit(6));
                }
                "fault" => {
                    spawn(other_cpu(), || peek(16));
                }
                _ => {}
            }
            spin()
        }
        "leave" => {
            if env.args().nth(3) == Some("first") {
                spawn(other_cpu(), || {
                    done!(rt::sleep_until(rt::in_ms(5)), "sleeping");
                    // The first thread is long gone.
                    leave()
                });
            }
            leave()
        }
        _ => return starting::child(role, env),
    }
    Some(0)
}
