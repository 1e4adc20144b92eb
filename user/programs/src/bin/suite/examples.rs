//! The programs that show what rings are for, ended at their n-th entry into the kernel, for every n:
//! whoever is left ends by himself, and everything is returned.

use alloc::vec;
use alloc::vec::Vec;

use programs::search::{ROLES, Search};
use rt::{Mode, Process, ProcessState, ProcessStatus, Rights, Spawn};

use crate::Case;
use crate::fuses::{ENTRIES, every_entry};
use crate::objects::image_of;

/// How long all of them may take to end, in ms.
const LIFE_MS: u64 = 5_000;
/// What a program may do with the initrd, to start others from it.
const INITRD: Rights = Rights::READ
    .union(Rights::MAP)
    .union(Rights::INSPECT)
    .union(Rights::GRANT)
    .union(Rights::DUPLICATE);
/// What a search says that has found nothing, and one of its processes that is left alone.
const NOT_FOUND: u64 = 1;
const LEFT_ALONE: u64 = 3;

/// Starts processes of which one has a fuse, and lets them begin when all are there.
fn begin(spawns: Vec<Spawn<'_>>, victim: usize, entries: u64) -> Vec<Process> {
    let stopped = spawns.into_iter().map(|spawn| spawn.stopped().start());
    let processes: Vec<_> = stopped.map(|process| done!(process, "a process")).collect();
    done!(processes[victim].set_fuse(entries), "a fuse");
    for process in &processes {
        done!(process.resume(0, 0), "beginning");
    }
    processes
}

/// How all of them end, which they do by themselves.
fn end(processes: &[Process]) -> Vec<ProcessStatus> {
    let deadline = rt::in_ms(LIFE_MS);
    let ends = processes.iter().enumerate();
    ends.map(|(index, process)| done!(process.wait(deadline), "the end of process {index}"))
        .collect()
}

fn is_killed(status: &ProcessStatus) -> bool {
    status.state == ProcessState::Killed as u32
}

pub fn search(case: &Case) {
    let image = done!(image_of(case.initrd, "search"), "the program");
    let search = Search {
        image,
        initrd: case.initrd,
        offset: "0",
        len: "5000",
        text: "nothing like this is in there",
    };
    every_entry(0..ROLES.len(), ENTRIES, |victim, entries| {
        let processes = done!(search.processes(), "rings");
        let processes = begin(processes, victim, entries);
        let ends = end(&processes);
        let burnt = is_killed(&ends[victim]);
        for (index, status) in ends.iter().enumerate() {
            let in_order = match status.exited().map(u64::from) {
                Some(0) => true,
                Some(NOT_FOUND) => ROLES[index] == "collector",
                Some(LEFT_ALONE) => burnt,
                Some(_) => false,
                None => burnt && index == victim,
            };
            check!(
                in_order,
                "the {} ended by {status:?} when the {} ends at entry {entries}",
                ROLES[index],
                ROLES[victim]
            );
        }
        burnt
    });
    done!(rt::drop_handle(image), "dropping the program");
}

/// A program that starts the others itself, ended at every entry.
fn alone(case: &Case, name: &str, args: [&str; 3]) {
    let image = done!(image_of(case.initrd, name), "the program {name}");
    every_entry(0..1, ENTRIES, |victim, entries| {
        let spawn = args.into_iter().fold(Spawn::new(image, name), Spawn::arg);
        let spawn = spawn.handle(case.initrd, Mode::Share, INITRD);
        let ends = end(&begin(vec![spawn], victim, entries));
        let burnt = is_killed(&ends[0]);
        check!(
            burnt || ends[0].succeeded(),
            "{name} ended by {:?} with {entries} entries left",
            ends[0]
        );
        burnt
    });
    done!(rt::drop_handle(image), "dropping the program");
}

pub fn logs(case: &Case) {
    alone(case, "logs", ["3", "3", "1"]);
}

pub fn kv(case: &Case) {
    alone(case, "kv", ["4", "6", "2"]);
}
