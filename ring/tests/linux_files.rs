//! Rings on Linux and the files and sockets of a process: how many it may have, what of them is left in the end, and which
//! are listened to.
#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

mod linux_peer;
mod other_process;

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, Barrier};
use std::task::{Context, Wake};
use std::thread;
use std::time::Duration;

use linux_peer::{ALL_SEALS, ANSWER, DUPLEX, OFFER, bytes_of, file_bytes, message, sealed, send};
use other_process::*;
use ring::asynchronous::WaitAsTask;
use ring::linux::{Connection, End, Error, Futex, Setup};
use ring::{Wait, slot};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the other process does, if this is it: each test has one of its own, where nobody else opens files meanwhile.
#[test]
fn the_other_process() {
    play(&[
        ("open and close", &alone(open_and_close)),
        ("keep a duplicate", &alone(keep_a_duplicate)),
        ("have no room", &alone(have_no_room)),
    ]);
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

/// Makes and drops rings in every way.
fn open_and_close() {
    let (one, other) = Connection::pair().unwrap();
    let peer = thread::spawn(move || other.offer(soon()).unwrap().consume().unwrap());
    let first = one.produce(GEOMETRY, soon()).unwrap();
    drop((first, peer.join().unwrap()));
    // The watcher holds one for a moment longer.
    let settled = || {
        let mut last = held();
        loop {
            thread::sleep(Duration::from_millis(20));
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
        let peer = thread::spawn(move || other.offer(soon()).unwrap().produce().unwrap());
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
    runs_well_in_another_process("open and close");
}

/// How many sockets the thread that listens is told of.
fn listened_to() -> usize {
    let files = std::fs::read_dir("/proc/self/fd").unwrap();
    let tells = files.map(|file| file.unwrap()).find(|file| {
        let what = std::fs::read_link(file.path());
        what.is_ok_and(|what| what.as_os_str() == "anon_inode:[eventpoll]")
    });
    let number = tells.unwrap().file_name();
    let of_it = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", number.display()));
    let told = of_it.unwrap();
    told.lines().filter(|line| line.starts_with("tfd:")).count()
}

/// Both ends of a ring over a connection, of which the receiving one is a task's, and a duplicate of the socket of the other.
fn ends() -> (slot::Producer<Futex>, slot::Consumer<Futex>, OwnedFd) {
    let (one, other) = Connection::pair().unwrap();
    let duplicate = one.as_fd().try_clone_to_owned().unwrap();
    let peer = thread::spawn(move || {
        let offer = other.offer(soon()).unwrap().for_tasks();
        offer.consume().unwrap().slot().unwrap()
    });
    let end = one.produce(GEOMETRY, soon()).unwrap().slot().unwrap();
    (end, peer.join().unwrap(), duplicate)
}

/// A task that keeps who wakes it until it is met, and then until it is met again.
struct Keeps(Barrier);

impl Wake for Keeps {
    fn wake(self: Arc<Self>) {
        self.0.wait();
        self.0.wait();
    }
}

/// Drops an end while somebody else still has its socket, as a child of fork that does not exec. The thread that listens is
/// kept from hearing of it meanwhile: it would let go of a socket that has hung up.
fn keep_a_duplicate() {
    let keeps = Arc::new(Keeps(Barrier::new(2)));
    let (sender, mut task, _other) = ends();
    let seen = task.arm().unwrap().unwrap();
    let waker = keeps.clone().into();
    let answer = task
        .waiter()
        .poll_wait(seen, &mut Context::from_waker(&waker));
    assert!(answer.is_pending());
    sender.waiter().wake();
    keeps.0.wait();
    let before = listened_to();
    let (producer, consumer, duplicate) = ends();
    assert_eq!(listened_to(), before + 2);
    drop((producer, consumer));
    assert_eq!(listened_to(), before, "it would be told of for ever");
    drop(duplicate);
    keeps.0.wait();
}

#[test]
fn who_keeps_a_duplicate_of_the_socket_of_an_end_that_is_gone_keeps_nobody_awake() {
    runs_well_in_another_process("keep a duplicate");
}

/// Does something while this process may have so many files more than it has.
fn with_room_for<T>(more: u64, act: impl FnOnce() -> T) -> T {
    let usual = getrlimit(Resource::Nofile);
    let next = std::fs::File::open("/dev/null").unwrap().as_raw_fd() as u64;
    let current = Some(next + more);
    setrlimit(Resource::Nofile, Rlimit { current, ..usual }).unwrap();
    let answer = act();
    setrlimit(Resource::Nofile, usual).unwrap();
    answer
}

#[track_caller]
fn assert_no_room<T>(answer: Result<T, Error>) {
    let error = answer.err().unwrap();
    assert!(
        matches!(&error, Error::System(error) if error.raw_os_error() == Some(libc::EMFILE)),
        "{error:?}"
    );
}

/// Gets offers and answers of honest peers, with less room for files than it takes.
fn have_no_room() {
    // What a peer with this end says first, with one file and what comes besides; and who is told.
    let told = |first, end, besides: Option<&Connection>| {
        let (honest, peer) = Connection::pair().unwrap();
        let file = sealed(file_bytes(end), ALL_SEALS);
        let besides = besides.map(AsFd::as_fd);
        let files: Vec<_> = [file.as_fd()].into_iter().chain(besides).collect();
        send(&peer, &bytes_of(&message(first, end)), &files);
        (honest, peer)
    };
    let (offered, _peer) = told(OFFER, End::Producer, None);
    assert_no_room(with_room_for(0, || offered.offer(soon())));
    let (back, _there) = told(OFFER, End::Consumer, None);
    for room in [0, 1] {
        let (offered, _peer) = told(DUPLEX, End::Producer, Some(&back));
        assert_no_room(with_room_for(room, || offered.duplex_offer(soon())));
    }
    // The one file is that of this side.
    let (answered, _peer) = told(ANSWER, End::Consumer, None);
    let setup = Setup::new(linux_peer::GEOMETRY).symmetric();
    assert_no_room(with_room_for(1, || setup.produce(answered, soon())));
    // Neither peer was to blame.
    let (offered, _peer) = told(OFFER, End::Producer, None);
    assert!(with_room_for(1, || offered.offer(soon())).is_ok());
    let (answered, _peer) = told(ANSWER, End::Consumer, None);
    assert!(setup.produce(answered, soon()).is_ok());
}

#[test]
fn who_may_have_no_more_files_is_told_so_and_not_that_its_peer_is_to_blame() {
    runs_well_in_another_process("have no room");
}
