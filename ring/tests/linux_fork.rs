//! Rings on Linux in a process that forks: what a child does with its copies, and with rings of its own.
#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

mod other_process;

use std::thread;
use std::time::Duration;

use other_process::*;
use ring::Error;
use ring::linux::{Connection, EndState, deadline_in, pair};

/// What the other process does, if this is it.
#[test]
fn the_other_process() {
    play(&[
        ("drop copies", &have_a_child_that_drops_its_copies),
        ("make a ring", &alone(have_a_child_that_makes_a_ring)),
    ]);
}

/// Runs `part` in a child, which ends without going on here. `None` in place of its answer: it was killed, or panicked.
fn in_child(part: impl FnOnce() -> bool) -> Option<bool> {
    // SAFETY: the child calls the allocator, which the C library keeps usable in it, and ends below.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let answer = std::panic::catch_unwind(std::panic::AssertUnwindSafe(part));
        let status = answer.map_or(2, |answer| i32::from(!answer));
        // SAFETY: it ends this process at once, so that nothing of its parent's is dropped.
        unsafe { libc::_exit(status) }
    }
    let mut status = 0;
    // SAFETY: the status is this function's, and the child is its own.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    match libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)) {
        Some(0) => Some(true),
        Some(1) => Some(false),
        _ => None,
    }
}

/// Where the first page that a file of a ring is mapped at begins.
fn page_of_a_ring() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.contains("handover-ring"));
    let (begin, _) = line.unwrap().split_once('-').unwrap();
    usize::from_str_radix(begin, 16).unwrap()
}

fn have_a_child_that_drops_its_copies(connection: Connection) {
    let offer = connection.offer(soon()).unwrap();
    let end = offer.produce().unwrap().slot().unwrap();
    let place = page_of_a_ring();
    let (own, own_peer) = pair(GEOMETRY).unwrap();
    let mut copies = Some((end, own.slot().unwrap(), own_peer.slot().unwrap()));
    let child = in_child(|| {
        // In place of a page of the ring, which is not here, the child has one of its own.
        // SAFETY: nothing that is mapped already is replaced.
        let page = unsafe {
            libc::mmap(
                place as *mut libc::c_void,
                abi::ring::PAGE_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE,
                -1,
                0,
            )
        };
        assert_eq!(page as usize, place);
        let word = page.cast::<u64>();
        // SAFETY: the page was mapped above.
        unsafe { word.write_volatile(7) };
        drop(copies.take());
        // SAFETY: nobody but the child has unmapped it, which is what is tried.
        unsafe { word.read_volatile() == 7 }
    });
    assert_eq!(child, Some(true));
    let (mut end, mut own, mut own_peer) = copies.unwrap();
    let mut bytes = [0; 120];
    own.send(b"own", soon()).unwrap();
    assert_eq!(own_peer.receive(&mut bytes, soon()), Ok(3));
    end.send(b"word", soon()).unwrap();
    // What the peer says is still heard.
    while end.send(b"more", soon()).is_ok() {}
    assert_eq!(end.peer_state(), EndState::Draining);
}

#[test]
fn a_child_that_drops_its_copies_of_ends_touches_nothing_of_its_parents() {
    let other = Other::start("drop copies");
    let setup = ring::linux::Setup::new(GEOMETRY);
    let connection = other.connection();
    let mut end = setup.consume(connection, soon()).unwrap().slot().unwrap();
    let mut bytes = [0; 120];
    assert_eq!(end.receive(&mut bytes, soon()), Ok(4));
    assert_eq!(end.peer_state(), EndState::Open);
    drop(end);
    other.ends_well();
}

fn have_a_child_that_makes_a_ring() {
    let ends = || {
        let (one, other) = Connection::pair().unwrap();
        let peer = thread::spawn(move || other.offer(soon()).unwrap().consume().unwrap());
        let end = one.produce(GEOMETRY, soon()).unwrap().slot().unwrap();
        (end, peer.join().unwrap().slot().unwrap())
    };
    let tells = || {
        let (mut end, peer) = ends();
        drop(peer);
        let limit_ns = deadline_in(Duration::from_secs(10));
        while end.send(&[], limit_ns).is_ok() {}
        end.peer_state() == EndState::Draining
    };
    // The thread that listens is there.
    assert!(tells());
    let (end, mut peer) = ends();
    // In a child of a child, too.
    let child = in_child(|| tells() && in_child(tells) == Some(true) && tells());
    assert_eq!(child, Some(true));
    assert!(tells());
    drop(end);
    assert_eq!(peer.receive(&mut [0; 120], soon()), Err(Error::PeerClosed));
}

#[test]
fn a_child_that_makes_a_ring_hears_what_becomes_of_its_peer() {
    runs_well_in_another_process("make a ring");
}
