//! A driver for QEMU's educational device (QEMU, docs/specs/edu.txt), in user mode: it maps the registers, has the
//! device compute factorials, and sleeps until the device interrupts.
//!
//! Arguments: the numbers, 10 without any. Before them, `--kept` has a supervisor keep the driver running, and asks it as any
//! client does; then `--fuse N,...` ends its first lives after so many entries into the kernel. Handles, the last three: the
//! resource of the registers, the notification that the interrupt signals, the interrupt; with `--kept`, before them, the initrd
//! and a session with the name service.

#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod kept;

use alloc::vec::Vec;

use programs::expect;
use rt::{CachePolicy, Env, FOREVER, Handle, Interrupt, Notification, ObjectKind, Registers};
use rt::{in_ms, now_ns, println};

rt::entry!(run);

/// Without a number it computes the factorial of this one.
const DEFAULT: u32 = 10;

/// The last number whose factorial has no more than 32 bits.
const LAST_WHOLE: u32 = 12;

/// An argument is no number.
const USAGE: u8 = 2;
/// This machine has no such device.
const NO_DEVICE: u8 = 1;
/// The device does not do what its specification says.
const BROKEN: u8 = 3;

/// Its registers, 32 bits each.
const IDENTIFICATION: u64 = 0x00;
const LIVENESS: u64 = 0x04;
const FACTORIAL: u64 = 0x08;
const STATUS: u64 = 0x20;
const INTERRUPT_STATUS: u64 = 0x24;
const INTERRUPT_RAISE: u64 = 0x60;
const INTERRUPT_ACKNOWLEDGE: u64 = 0x64;

/// Of the status: it computes; it is to interrupt when it has done.
const COMPUTING: u32 = 0x01;
const INTERRUPT_WHEN_DONE: u32 = 0x80;
/// Of the interrupt status: a factorial is there.
const DONE: u32 = 0x01;
/// One that it raises because it is told to.
const RAISED: u32 = 0x100;
/// How often it is told to, without anybody waiting.
const STORM: u32 = 1000;

/// How long after the last interrupt none comes any more, and how soon one does, in ms.
const SETTLE_MS: u64 = 5;
const SOON_MS: u64 = 1000;

/// The device and what it interrupts by.
struct Edu {
    registers: Registers,
    notification: Notification,
    interrupt: Interrupt,
}

/// What belongs to the device: the resource of its registers, the notification, and the interrupt.
type Device = [Handle; 3];

fn run(env: &Env) -> u8 {
    let mut words = env.args().skip(1).peekable();
    let serves = words.next_if_eq(&kept::SERVE).is_some();
    let is_kept = words.next_if_eq(&"--kept").is_some();
    let fuses = match words.next_if_eq(&"--fuse") {
        Some(_) if is_kept => words.next(),
        _ => None,
    };
    let mut numbers = Vec::new();
    for word in words {
        let Ok(number) = word.parse() else {
            println!(
                "edu: `{word}` is no number of 32 bits: edu [--kept [--fuse N,...]] [NUMBER ...]"
            );
            return USAGE;
        };
        numbers.push(number);
    }
    if numbers.is_empty() {
        numbers.push(DEFAULT);
    }
    let Some(device) = device(env) else {
        println!("edu: this machine has no such device; --edu gives it one");
        return NO_DEVICE;
    };
    match (serves, is_kept) {
        (true, _) => kept::serve(env.handle(0), device),
        (_, true) => kept::keep(env, device, &numbers, fuses),
        _ => drive(device, &numbers),
    }
}

fn device(env: &Env) -> Option<Device> {
    let [.., resource, notification, interrupt] = *env.handles() else {
        return None;
    };
    let is_there = interrupt.kind() == Some(ObjectKind::Interrupt);
    is_there.then_some([resource, notification, interrupt])
}

/// Computes factorials, and tries what else the device and its interrupt can do.
fn drive(device: Device, numbers: &[u32]) -> u8 {
    let edu = match open(device) {
        Ok(edu) => edu,
        Err(status) => return status,
    };
    edu.take_over();
    for &number in numbers {
        let factorial = edu.factorial(number);
        let of_32_bits = if number > LAST_WHOLE {
            " modulo 2^32"
        } else {
            ""
        };
        println!("edu: {number}! = {factorial}{of_32_bits}, told by an interrupt");
    }
    if edu.outlives_a_storm() && edu.ends_with_its_interrupt() {
        0
    } else {
        BROKEN
    }
}

/// The device, if it is alive; else the status to end with.
fn open([resource, notification, interrupt]: Device) -> Result<Edu, u8> {
    let info = expect!(
        rt::resource_info(resource),
        "edu: looking for the registers"
    );
    let registers = Registers::create(resource, info.address, info.len, CachePolicy::Uncached);
    let edu = Edu {
        registers: expect!(registers, "edu: mapping the registers"),
        notification: Notification::from_handle(notification),
        interrupt: Interrupt::from_handle(interrupt),
    };
    let version: u32 = edu.registers.read(IDENTIFICATION);
    edu.registers.write(LIVENESS, 0x1234_5678_u32);
    if version & 0xffff != 0xed || edu.registers.read::<u32>(LIVENESS) != !0x1234_5678 {
        println!("edu: the device answers {version:#x}, as none that is alive does");
        return Err(BROKEN);
    }
    println!(
        "edu: version {}.{}, alive",
        version >> 24,
        version >> 16 & 0xff
    );
    Ok(edu)
}

impl Edu {
    /// Sleeps until the device has interrupted, and returns why.
    fn interrupted(&self) -> u32 {
        loop {
            expect!(
                self.notification.wait(FOREVER),
                "edu: waiting for the interrupt"
            );
            let reasons: u32 = self.registers.read(INTERRUPT_STATUS);
            self.registers.write(INTERRUPT_ACKNOWLEDGE, reasons);
            // Bits of one that was seen with another before come without a reason.
            if reasons != 0 {
                return reasons;
            }
        }
    }

    /// Has the device forget what another driver may have left it with, which ended in the middle of
    /// something.
    fn take_over(&self) {
        self.registers.write(STATUS, 0_u32);
        while self.registers.read::<u32>(STATUS) & COMPUTING != 0 {
            let _ = rt::sleep_until(in_ms(1));
        }
        loop {
            let reasons: u32 = self.registers.read(INTERRUPT_STATUS);
            self.registers.write(INTERRUPT_ACKNOWLEDGE, reasons);
            if self.notification.wait(in_ms(SETTLE_MS)).is_err() {
                break;
            }
        }
    }

    /// Has the device compute a factorial, of which it knows 32 bits.
    fn factorial(&self, number: u32) -> u32 {
        self.registers.write(STATUS, INTERRUPT_WHEN_DONE);
        self.registers.write(FACTORIAL, number);
        while self.interrupted() & DONE == 0 {}
        if self.registers.read::<u32>(STATUS) & COMPUTING != 0 {
            println!("edu: the device interrupted before it was done");
            rt::exit(BROKEN);
        }
        self.registers.read(FACTORIAL)
    }

    /// Has the device interrupt many times: one bit is set, and one wait takes them all.
    fn outlives_a_storm(&self) -> bool {
        for _ in 0..STORM {
            self.registers.write(INTERRUPT_RAISE, RAISED);
        }
        let reasons = self.interrupted();
        // Some may still be on their way to another CPU: the same bit again, for no reason.
        let mut bits = 1;
        while let Ok(more) = self.notification.wait(in_ms(SETTLE_MS)) {
            bits |= more;
        }
        println!("edu: {STORM} interrupts while nobody waited set one bit");
        (reasons, bits) == (RAISED, 1)
    }

    /// Has the device interrupt when nobody listens any more: the kernel counts that, and no bit is set.
    fn ends_with_its_interrupt(self) -> bool {
        let strays = || expect!(rt::system_info(), "edu: counting strays").stray_interrupts;
        drop(self.interrupt);
        let before = strays();
        self.registers.write(INTERRUPT_RAISE, RAISED);
        let reasons: u32 = self.registers.read(INTERRUPT_STATUS);
        self.registers.write(INTERRUPT_ACKNOWLEDGE, reasons);
        let limit = in_ms(SOON_MS);
        while strays() == before && now_ns() < limit {
            let _ = rt::sleep_until(in_ms(1));
        }
        let (set, strayed) = (self.notification.poll(), strays() - before);
        println!("edu: {strayed} interrupt strayed after the end of its object");
        (set, strayed, reasons) == (Ok(0), 1, RAISED)
    }
}
