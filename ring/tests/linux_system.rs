//! Rings on Linux and what the system has of them: its barrier, its files and mappings, and their rights.
#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

mod other_process;

use std::time::Duration;

use other_process::*;
use ring::Error;
use ring::linux::{Connection, Form, deadline_in};

/// What the other process does, if this is it.
#[test]
fn the_other_process() {
    let Some((role, connection)) = part() else {
        return;
    };
    match role.as_str() {
        "say no more" => say_no_more(connection),
        "sleep without barriers" => {
            drop(connection);
            sleep_without_barriers();
        }
        "open and close" => {
            drop(connection);
            open_and_close();
        }
        _ => panic!("no such role: {role}"),
    }
}

/// Forbids `membarrier(2)` to this thread, as a sandbox would that is closed late.
fn forbid_barriers() {
    let instruction = |code: u32, value: u32, no: u8| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: no,
        k: value,
    };
    let filter = [
        // The number of the call, compared with the one that is forbidden.
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        instruction(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            libc::SYS_membarrier as u32,
            1,
        ),
        instruction(
            libc::BPF_RET | libc::BPF_K,
            libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
            0,
        ),
        instruction(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: the filter is copied by the call, and takes nothing away that memory safety rests on.
    let installed = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) == 0
    };
    assert!(installed);
}

fn sleep_without_barriers() {
    let (_producer, consumer) = ring::linux::pair(GEOMETRY).unwrap();
    let asymmetric = consumer.form() == Form::Asymmetric;
    let mut consumer = consumer.slot().unwrap();
    forbid_barriers();
    let answer = consumer.receive(&mut [0; 120], deadline_in(Duration::from_millis(10)));
    let expected = match asymmetric {
        true => Error::Unsupported,
        false => Error::TimedOut,
    };
    assert_eq!(answer, Err(expected));
    // What is made from now on does without.
    let (_producer, consumer) = ring::linux::pair(GEOMETRY).unwrap();
    assert_eq!(consumer.form(), Form::Symmetric);
    let mut consumer = consumer.slot().unwrap();
    let answer = consumer.receive(&mut [0; 120], deadline_in(Duration::from_millis(10)));
    assert_eq!(answer, Err(Error::TimedOut));
}

#[test]
fn nobody_sleeps_at_an_asymmetric_ring_without_the_barrier() {
    let other = Other::start("sleep without barriers");
    drop(other.connection());
    other.ends_well();
}

/// Files and mappings of this process that belong to rings, and its sockets.
fn held() -> (usize, usize) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mapped = maps
        .lines()
        .filter(|line| line.contains("handover-ring"))
        .count();
    (mapped, std::fs::read_dir("/proc/self/fd").unwrap().count())
}

/// Makes and drops rings in every way, in a process of its own, where nobody else opens files meanwhile.
fn open_and_close() {
    let (one, other) = Connection::pair().unwrap();
    let peer = std::thread::spawn(move || other.offer(soon()).unwrap().consume().unwrap());
    let first = one.produce(GEOMETRY, soon()).unwrap();
    drop((first, peer.join().unwrap()));
    // The watcher holds one for a moment longer.
    let settled = || {
        let mut last = held();
        loop {
            std::thread::sleep(Duration::from_millis(20));
            let now = held();
            if now == last {
                return now;
            }
            last = now;
        }
    };
    let before = settled();
    for _ in 0..50 {
        drop(ring::linux::pair(GEOMETRY).unwrap());
        let (one, other) = Connection::pair().unwrap();
        let peer = std::thread::spawn(move || other.offer(soon()).unwrap().produce().unwrap());
        let end = one.consume(GEOMETRY, soon()).unwrap().slot().unwrap();
        let peer = peer.join().unwrap().slot().unwrap();
        drop((end, peer));
        let (one, other) = Connection::pair().unwrap();
        drop(other);
        assert!(one.produce(GEOMETRY, soon()).is_err());
    }
    assert_eq!(settled(), before);
}

#[test]
fn rings_that_are_gone_leave_neither_files_nor_mappings() {
    let other = Other::start("open and close");
    drop(other.connection());
    other.ends_well();
}

#[test]
fn an_end_can_write_its_own_pages_and_no_others() {
    let other = Other::start("say no more");
    let mut end = other.consume();
    assert_eq!(end.receive(&mut [0; 120], soon()), Ok(4));
    let of = |process: u32| -> Vec<String> {
        std::fs::read_to_string(format!("/proc/{process}/maps"))
            .unwrap()
            .lines()
            .filter(|line| line.contains("handover-ring"))
            .map(|line| line.split_whitespace().nth(1).unwrap().to_owned())
            .collect()
    };
    let theirs = of(other.child.id());
    // In the order of addresses: P, C, the data twice.
    assert_eq!(theirs, ["rw-s", "r--s", "rw-s", "rw-s"]);
}
