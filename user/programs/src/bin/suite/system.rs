//! The entry into the kernel, and every call with arguments that make no sense.

use core::arch::asm;

use abi::{RingGeometry, SYSCALLS, Syscall, SyscallInfo};
use fastrand::Rng;
use programs::entries::Entries;
use rt::{Env, Error, Handle};

use crate::Case;
use crate::arguments::Good;
use crate::calls::{READ_WRITE, map_all, raw, region, small_ring, yield_now};
use crate::check::succeeds;
use crate::refusals::{Watch, documented};

pub fn null_call(_: &Case) {
    same!(raw(Syscall::Nop as u64, [0; 6]), Ok(0), "nop");
    same!(
        raw(Syscall::AbiInfo as u64, [u64::MAX; 6]),
        Ok(abi::VERSION),
        "abi_info"
    );
    let unknown = (0..300).filter(|&number| Syscall::from_number(number).is_none());
    for number in unknown.chain([1 << 31, 1 << 32, 1 << 63, u64::MAX]) {
        same!(
            raw(number, [0; 6]),
            Err(Error::Unsupported),
            "call {number:#x}"
        );
    }
}

pub fn memory(_: &Case) {
    let info = done!(rt::system_info(), "system_info");
    rt::println!("#memory usable={}", info.frames_usable);
    same!(
        info.frames_total + info.frames_boot + info.frames_unused,
        info.frames_usable,
        "usable frames, of which {} are managed, {} boot's and {} left alone",
        info.frames_total,
        info.frames_boot,
        info.frames_unused
    );
    let managed: u64 = info.memory_nodes.iter().map(|node| node.total).sum();
    same!(managed, info.frames_total, "frames of all nodes");
    let with_memory = info.memory_nodes.iter().filter(|node| node.total > 0);
    same!(
        with_memory.count(),
        info.nodes as usize,
        "nodes with memory"
    );
}

pub fn clock(_: &Case) {
    let begin = rt::now_ns();
    let mut last = begin;
    for _ in 0..10_000 {
        let now = rt::now_ns();
        check!(now >= last, "the clock went back from {last} to {now}");
        last = now;
        yield_now();
    }
    check!(last > begin, "the clock stood still");
}

/// Fills every register, calls the kernel and compares.
#[cfg(target_os = "none")]
fn registers_kept(number: u64) -> bool {
    let changed: u64;
    // SAFETY: the calls used take no arguments, and every register changed is saved or declared.
    unsafe {
        asm!(
            "push rbx",
            "push rbp",
            "mov rbx, 0x1111", "mov rbp, 0x2222",
            "mov rdi, 0x3333", "mov rsi, 0x4444", "mov rdx, 0x5555",
            "mov r8, 0x6666", "mov r9, 0x7777", "mov r10, 0x8888",
            "mov r12, 0x9999", "mov r13, 0xaaaa", "mov r14, 0xbbbb", "mov r15, 0xcccc",
            "syscall",
            "xor rbx, 0x1111", "xor rbp, 0x2222",
            "xor rdi, 0x3333", "xor rsi, 0x4444", "xor rdx, 0x5555",
            "xor r8, 0x6666", "xor r9, 0x7777", "xor r10, 0x8888",
            "xor r12, 0x9999", "xor r13, 0xaaaa", "xor r14, 0xbbbb", "xor r15, 0xcccc",
            "or rbx, rbp", "or rbx, rdi", "or rbx, rsi", "or rbx, rdx", "or rbx, r8",
            "or rbx, r9", "or rbx, r10", "or rbx, r12", "or rbx, r13", "or rbx, r14",
            "or rbx, r15",
            "mov rax, rbx",
            "pop rbp",
            "pop rbx",
            inout("rax") number => changed,
            out("rcx") _, out("rdx") _, out("rsi") _, out("rdi") _,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            out("r12") _, out("r13") _, out("r14") _, out("r15") _,
        );
    }
    changed == 0
}

#[cfg(not(target_os = "none"))]
fn registers_kept(_: u64) -> bool {
    // SAFETY: nothing is done.
    unsafe { asm!("nop") };
    true
}

pub fn registers(_: &Case) {
    for _ in 0..100 {
        for call in [Syscall::Nop, Syscall::ThreadYield, Syscall::ClockNow] {
            check!(
                registers_kept(call as u64),
                "{call:?} changed a register that it has to keep"
            );
        }
        check!(
            registers_kept(9),
            "an unknown call changed a register that it has to keep"
        );
    }
}

pub fn console_limits(_: &Case) {
    let write = |address, len| raw(Syscall::DebugWrite as u64, [address, len, 0, 0, 0, 0]);
    let page = map_all(region(8192), READ_WRITE);
    same!(write(page, 4097), Err(Error::TooLarge), "4,097 bytes");
    same!(
        write(page, u64::MAX),
        Err(Error::TooLarge),
        "too many bytes"
    );
    same!(write(page, 0), Ok(0), "no bytes");
    for address in BAD_ADDRESSES {
        same!(write(address, 8), Err(Error::Fault), "text at {address:#x}");
    }
    same!(
        write(page + 8192 - 4, 8),
        Err(Error::Fault),
        "text that begins well"
    );
}

/// Where nothing of a program can be.
const BAD_ADDRESSES: [u64; 7] = [
    0,
    8,
    (1 << 47) - 4096,
    1 << 47,
    0xffff_8000_0000_0000,
    0xffff_ffff_8000_0000,
    u64::MAX - 3,
];

/// What a case has that arguments can name.
struct Things {
    numbers: [u64; 28],
}

impl Things {
    fn new(case: &Case) -> Things {
        let own = region(3 << 20);
        let scratch = map_all(region(8192), READ_WRITE);
        let (producer, consumer) = small_ring();
        let stale = region(1);
        done!(rt::drop_handle(stale), "dropping");
        // Good geometry at the beginning of the scratch page.
        crate::calls::poke(scratch, 64 << 32 | RingGeometry::slot(64, 16).kind as u64);
        crate::calls::poke(scratch + 8, 16);
        let kernel = BAD_ADDRESSES;
        Things {
            numbers: [
                case.initrd.bits(),
                case.image.bits(),
                own.bits(),
                producer.bits(),
                consumer.bits(),
                stale.bits(),
                own.bits() ^ 1 << 56,
                own.bits() + (1 << 24),
                own.bits() | 0xff_ffff,
                scratch,
                scratch + 1,
                scratch + 8191,
                kernel[0],
                kernel[1],
                kernel[2],
                kernel[3],
                kernel[4],
                kernel[5],
                kernel[6],
                1,
                3,
                63,
                4096,
                2 << 20,
                (2 << 20) + 1,
                1 << 32,
                1 << 63,
                i64::MAX as u64,
            ],
        }
    }
}

/// The calls that may be made with anything. `exit` and `thread_exit` end the case, a thread with a
/// random beginning ends it too, and `debug_write` would write to the report.
fn callable() -> impl Iterator<Item = &'static SyscallInfo> {
    const LEFT_OUT: [Syscall; 4] = [
        Syscall::Exit,
        Syscall::DebugWrite,
        Syscall::ThreadSpawn,
        Syscall::ThreadExit,
    ];
    let left_out = |info: &SyscallInfo| LEFT_OUT.iter().any(|call| *call as u64 == info.number);
    SYSCALLS.iter().filter(move |info| !left_out(info))
}

/// Whether a call sleeps until the deadline in its arguments, and where that is.
fn deadline(info: &SyscallInfo) -> Option<usize> {
    info.arguments
        .iter()
        .position(|argument| argument.name == "deadline")
}

pub fn one_bad_argument(case: &Case) {
    let things = Things::new(case);
    let scratch = things.numbers[9];
    let baselines = [0, u64::MAX, things.numbers[2], things.numbers[3], scratch];
    let mut watch = Watch::new();
    for info in callable() {
        for baseline in baselines {
            for spoilt in 0..info.arguments.len().max(1) {
                for &number in &things.numbers {
                    let mut arguments = [baseline; 6];
                    arguments[spoilt] = number;
                    if let Some(place) = deadline(info) {
                        arguments[place] = 1;
                    }
                    let _ = watch.call(info, arguments);
                }
            }
        }
    }
}

pub fn bad_pointers(case: &Case) {
    let good = Good::new(case);
    let no_capability = usize::MAX;
    for info in callable() {
        // What it needs is made before.
        let arguments = good.arguments(info, no_capability, Handle::NONE);
        let mut watch = Watch::new();
        for (at, argument) in info.arguments.iter().enumerate() {
            if !argument.ty.starts_with("UserPtr") {
                continue;
            }
            for address in BAD_ADDRESSES {
                let mut arguments = arguments;
                arguments[at] = address;
                let _ = watch.call(info, arguments);
            }
        }
    }
}

pub fn random_arguments(case: &Case) {
    for seed in 0..8 {
        let child = case
            .child("random_calls")
            .arg(["0", "1", "2", "3", "4", "5", "6", "7"][seed])
            .handle(case.initrd, rt::Mode::Share, rt::Rights::all())
            .handle(case.image, rt::Mode::Share, rt::Rights::all());
        succeeds(&done!(child.start(), "starting a child"));
    }
    null_call(case);
}

fn random_calls(seed: u64, env: &Env) {
    const CALLS: u32 = 5000;
    let things = Things::new(&Case {
        initrd: env.handle(0),
        image: env.handle(1),
        devices: Handle::NONE,
        statistics: Handle::NONE,
        entries: Entries::USUAL,
    });
    let mut random = Rng::with_seed(seed);
    let calls: alloc::vec::Vec<_> = callable().collect();
    let mut results = [Handle::NONE.bits(); 32];
    let mut result = 0;
    for _ in 0..CALLS {
        let info = calls[random.usize(..calls.len())];
        let mut arguments = [0; 6];
        for argument in &mut arguments {
            *argument = match random.u8(..8) {
                0..4 => things.numbers[random.usize(..things.numbers.len())],
                4 | 5 => results[random.usize(..results.len())],
                6 => random.u64(..16),
                _ => random.u64(..),
            };
        }
        if let Some(place) = deadline(info) {
            arguments[place] = random.u64(..2);
        }
        if let Ok(value) = documented(info, arguments) {
            results[result] = value;
            result = (result + 1) % results.len();
        }
    }
}

/// The roles of children here.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    match role {
        "random_calls" => random_calls(crate::number(env, 0), env),
        _ => return None,
    }
    Some(0)
}
