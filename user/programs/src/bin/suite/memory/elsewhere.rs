//! What is taken away while another CPU uses it: a missing TLB shootdown shows here.

use rt::{Handle, Mode, Process, Rights};

use super::PAGE;
use crate::Case;
use crate::calls::{READ_WRITE, map_all, peek, region, region_destroy, region_seal};
use crate::check::{WRITE, eventually, faults_at, other_cpu};

/// Starts a child that works on the region on another CPU, and waits until it does.
pub fn worker(case: &Case, role: &str, shared: Handle, rights: Rights) -> (Process, u64) {
    let flags = region(PAGE);
    let flag = map_all(flags, READ_WRITE);
    let access = rights | Rights::MAP | Rights::INSPECT;
    let spawn = case
        .child(role)
        .handle(shared, Mode::Share, access)
        .handle(flags, Mode::Share, READ_WRITE | Rights::MAP)
        .cpus(other_cpu());
    let process = done!(spawn.start(), "starting a worker");
    eventually("the worker to begin", || peek(flag) != 0);
    (process, flag)
}

/// It has to end by a fault where it worked.
pub fn worker_faults(process: &Process, flag: u64) -> rt::ProcessStatus {
    let address = peek(flag);
    let status = faults_at(process, address);
    let count = peek(flag + 8);
    check!(count > 0, "the worker never worked");
    status
}

pub fn destroy_elsewhere(case: &Case) {
    for _ in 0..20 {
        let shared = region(PAGE);
        let (process, flag) = worker(case, "read_for_ever", shared, Rights::READ);
        done!(region_destroy(shared), "destroying");
        let count = peek(flag + 8);
        worker_faults(&process, flag);
        // It may have read once more before it counted, but not after.
        check!(
            peek(flag + 8) <= count + 1,
            "it read on after the region was gone"
        );
    }
}

pub fn seal_elsewhere(case: &Case) {
    for _ in 0..20 {
        let shared = region(PAGE);
        let mine = map_all(shared, Rights::READ);
        let (process, flag) = worker(case, "write_for_ever", shared, READ_WRITE);
        done!(region_seal(shared), "sealing");
        let word = peek(mine);
        let status = worker_faults(&process, flag);
        same!(status.error_code & WRITE, WRITE, "the kind of access");
        same!(peek(mine), word, "what was written after the seal");
    }
}
