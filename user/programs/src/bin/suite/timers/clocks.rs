//! The clock of the kernel beside another one of the machine: the HPET (IA-PC HPET 1.0a), whose rate is in its registers.

use rt::{
    CachePolicy, ChannelEnd, FOREVER, Handle, Mode, Registers, Rights, channel, in_ms, now_ns,
};

use crate::Case;
use crate::check::{other_cpu, succeeds};

/// Where it is, unless firmware moves it.
const ADDRESS: u64 = 0xfed0_0000;
const LEN: u64 = 4096;
/// Its registers, of 64 bits, in halves.
const VENDOR: u64 = 0x000;
const PERIOD_FS: u64 = 0x004;
const CONFIGURATION: u64 = 0x010;
const COUNTER: u64 = 0x0f0;
/// Of the configuration: it counts.
const COUNTS: u32 = 1;

const INTEL: u32 = 0x8086;
const FS_PER_NS: u64 = 1_000_000;
/// How far the clocks may run apart: one part in so many. The kernel compared its own with a timer of 838 ns a count
/// for 10 ms.
const PARTS: u64 = 500;
/// Between two looks, in ms.
const WHILE_MS: u64 = 20;

struct Hpet(Registers);

/// What both clocks say at a moment: the kernel's before the other one is looked at, that, and the kernel's afterwards.
#[derive(Clone, Copy)]
struct Moment {
    before: u64,
    count: u32,
    after: u64,
}

impl Hpet {
    fn open(devices: Handle) -> Hpet {
        let registers = Registers::create(devices, ADDRESS, LEN, CachePolicy::Uncached);
        Hpet(done!(registers, "the registers"))
    }

    fn look(&self) -> Moment {
        let before = now_ns();
        let count = self.0.read(COUNTER);
        let after = now_ns();
        Moment {
            before,
            count,
            after,
        }
    }

    /// Whether as much time has gone by on both clocks, as far as can be seen.
    fn agrees(&self, first: Moment, last: Moment) {
        let period_fs: u32 = self.0.read(PERIOD_FS);
        let counts = u64::from(last.count.wrapping_sub(first.count));
        let there = counts * u64::from(period_fs) / FS_PER_NS;
        let apart = there / PARTS;
        let (least, most) = (last.before - first.after, last.after - first.before);
        check!(
            (least - apart..=most + apart).contains(&there),
            "{there} ns of the HPET are {least} to {most} ns of the clock"
        );
    }
}

pub fn another_clock(case: &Case) {
    let hpet = Hpet::open(case.devices);
    same!(hpet.0.read::<u32>(VENDOR) >> 16, INTEL, "who made the HPET");
    let configuration: u32 = hpet.0.read(CONFIGURATION);
    hpet.0.write(CONFIGURATION, configuration | COUNTS);
    let first = hpet.look();
    done!(rt::sleep_until(in_ms(WHILE_MS)), "sleeping");
    let second = hpet.look();
    hpet.agrees(first, second);
    // On another CPU, whose counter is to be in step.
    let (here, there) = done!(channel(1), "a channel");
    let child = case.child("look_at_clocks").cpus(other_cpu());
    let child = child.handle(case.devices, Mode::Share, Rights::all());
    let child = child.handle(there.into_handle(), Mode::Move, Rights::all());
    let child = done!(child.start(), "a child");
    let message = done!(here.receive(in_ms(crate::check::SOON_MS)), "what it saw");
    let [before, count, after, _] = message.words().unwrap_or_default();
    let elsewhere = Moment {
        before,
        count: count as u32,
        after,
    };
    for seen in [first, second] {
        hpet.agrees(seen, elsewhere);
    }
    succeeds(&child);
    hpet.agrees(elsewhere, hpet.look());
    hpet.0.write(CONFIGURATION, configuration);
}

/// What the other CPU sees, after a while.
pub fn look(devices: Handle, end: &ChannelEnd) {
    let hpet = Hpet::open(devices);
    let first = hpet.look();
    done!(rt::sleep_until(in_ms(WHILE_MS)), "sleeping");
    let last = hpet.look();
    hpet.agrees(first, last);
    let words = [last.before, last.count.into(), last.after, 0];
    done!(end.send_words(words, FOREVER), "telling it");
}
