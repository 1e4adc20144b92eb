//! Programs that work with nobody: one prints what is counted, one writes down what others do.

use programs::entries::Entries;
use rt::{Error, Mode, Process, ProcessState, Rights, Spawn};

use super::{LIFE_MS, READ_INITRD};
use crate::Case;
use crate::check::cpus;
use crate::fuses::every_entry;
use crate::objects::image_of;

/// What is needed to look at pages that the kernel writes.
const LOOK: Rights = Rights::READ.union(Rights::MAP).union(Rights::INSPECT);
/// Events of each CPU that a trace has room for.
const SLOTS: u32 = 64;
/// How long what is traced takes, in ns: the tracer writes, sleeps, and writes again.
const WORK_NS: u64 = 500_000;

/// Starts one with its fuse.
fn start(program: Spawn<'_>, entries: u64) -> Process {
    let cpu = u64::from(cpus() > 1 && entries.is_multiple_of(2));
    let process = done!(program.cpus(1 << cpu).stopped().start(), "a program");
    done!(process.set_fuse(entries), "a fuse");
    done!(process.resume(0, 0), "beginning");
    process
}

/// Whether its fuse burnt; else it has done all that it had to.
fn end(process: &Process, entries: u64) -> bool {
    let status = process.wait(rt::in_ms(LIFE_MS));
    let status = done!(status, "a program that ends at entry {entries}");
    let burnt = status.state == ProcessState::Killed as u32;
    check!(burnt || status.succeeded(), "{status:?} at entry {entries}");
    burnt
}

fn count_until(case: &Case, entries: Entries) {
    let image = done!(image_of(case.initrd, "stat"), "the program");
    every_entry(0..1, entries, |_, entries| {
        let stat = Spawn::new(image, "stat").arg("1");
        // The second stands for a session, which it does not use.
        let stat = (0..2).fold(stat, |stat, _| {
            stat.handle(case.initrd, Mode::Share, READ_INITRD)
        });
        let stat = stat.handle(case.statistics, Mode::Share, LOOK);
        end(&start(stat, entries), entries)
    });
    done!(rt::drop_handle(image), "dropping the program");
}

fn trace_until(case: &Case, entries: Entries) {
    let image = done!(image_of(case.initrd, "tracer"), "the program");
    every_entry(0..1, entries, |_, entries| {
        let trace = done!(rt::trace_start(case.devices, SLOTS), "a trace");
        let tracer = Spawn::new(image, "tracer").handle(trace.handle(), Mode::Share, LOOK);
        let tracer = start(tracer, entries);
        // Its share keeps the trace.
        drop(trace);
        done!(rt::sleep_until(rt::now_ns() + WORK_NS), "sleeping");
        let stopped = rt::trace_stop(case.devices);
        let burnt = end(&tracer, entries);
        check!(
            stopped.is_ok() || burnt && stopped == Err(Error::NotFound),
            "the end of a trace: {stopped:?} at entry {entries}"
        );
        burnt
    });
    done!(rt::drop_handle(image), "dropping the program");
}

pub fn counted(case: &Case) {
    count_until(case, case.entries);
}

pub fn traced(case: &Case) {
    trace_until(case, case.entries);
}

/// Both at every entry that there is, in a round.
pub fn without_limit(case: &Case, round: u64) {
    rt::println!("counted, round {round}");
    count_until(case, Entries::ALL);
    rt::println!("traced, round {round}");
    trace_until(case, Entries::ALL);
}
