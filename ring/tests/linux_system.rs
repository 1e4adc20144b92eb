//! Rings on Linux and what the system has of them: its barrier, its mappings and their rights, its signals, and the thread
//! that listens.
#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

mod other_process;

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use futures::executor::block_on;
use other_process::*;
use ring::asynchronous::Receiver;
use ring::linux::{Connection, EndState, Form, Futex, Setup, deadline_in, now_ns};
use ring::slot::Slot;
use ring::{Close, Error, Wait};

/// What the other process does, if this is it.
#[test]
fn the_other_process() {
    play(&[
        ("say no more", &say_no_more),
        ("sleep without barriers", &alone(sleep_without_barriers)),
        ("listen to the dead", &alone(listen_to_the_dead)),
        ("sleep for each", &sleep_for_each),
        (
            "hear nothing for want of memory",
            &hear_nothing_for_want_of_memory,
        ),
        ("speak to nobody", &alone(speak_to_nobody)),
        (
            "speak when there is memory again",
            &speak_when_there_is_memory_again,
        ),
    ]);
}

/// Has a system call fail for this thread and those that it starts from now on, as a sandbox would that is closed late.
fn forbid(call: libc::c_long, error: libc::c_int) {
    filter(call, libc::SECCOMP_RET_ERRNO | error as u32);
}

/// Has something else than a system call take place, from now on in this thread and those that it starts.
fn filter(call: libc::c_long, instead: u32) {
    let instruction = |code: u32, value: u32, no: u8| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: no,
        k: value,
    };
    let filter = [
        // The number of the call, compared with the one that is forbidden.
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, call as u32, 1),
        instruction(libc::BPF_RET | libc::BPF_K, instead, 0),
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
    forbid(libc::SYS_membarrier, libc::EPERM);
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
    runs_well_in_another_process("sleep without barriers");
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

/// Sleeps for each message until it comes, however long that takes.
fn sleep_for_each(connection: Connection) {
    let end = Setup::new(GEOMETRY).consume(connection, soon()).unwrap();
    let mut end = end.slot().unwrap();
    let answer = loop {
        match end.receive(&mut [0; 120], u64::MAX) {
            Ok(length) => assert_eq!(length, 4),
            Err(error) => break error,
        }
    };
    assert_eq!(answer, Error::PeerClosed);
}

/// A word that two processes sleep and wake at is not one of each.
#[test]
fn a_thread_of_another_process_is_woken_at_the_word_that_both_have() {
    let other = Other::start("sleep for each");
    let mut end = other.produce();
    for _ in 0..3 {
        thread::sleep(Duration::from_millis(20));
        end.try_send(b"wake").unwrap();
        let limit_ns = deadline_in(Duration::from_secs(10));
        while end.is_empty() != Ok(true) {
            assert!(now_ns() < limit_ns, "it sleeps beside its message");
            thread::sleep(Duration::from_millis(1));
        }
    }
    drop(end);
    other.ends_well();
}

/// Every byte that comes over the socket is refused for want of memory.
fn hear_nothing_for_want_of_memory(connection: Connection) {
    forbid(libc::SYS_recvfrom, libc::ENOBUFS);
    let setup = Setup::new(GEOMETRY).for_tasks();
    let mut end = setup.consume(connection, soon()).unwrap().slot().unwrap();
    let shortly = || deadline_in(Duration::from_millis(20));
    let mut received = 0;
    while received < 3 {
        match end.receive(&mut [0; 120], shortly()) {
            Ok(_) => received += 1,
            Err(error) => assert_eq!(error, Error::TimedOut),
        }
    }
    let answer = end.receive(&mut [0; 120], shortly());
    assert_eq!(answer, Err(Error::TimedOut));
    assert_eq!(end.peer_state(), EndState::Open);
}

#[test]
fn who_can_not_be_heard_for_want_of_memory_is_not_dead() {
    let other = Other::start("hear nothing for want of memory");
    let mut end = other.produce();
    for _ in 0..3 {
        end.send(b"word", soon()).unwrap();
        // It is told over the socket, whether it sleeps or not.
        end.waiter().wake();
    }
    other.ends_well();
}

/// How often a byte that is sent finds no memory before it is sent.
const SHORTAGES: u32 = 3;
static REFUSED: AtomicU32 = AtomicU32::new(0);

/// Does in place of `sendto` what the system does that is short of memory for a while; then it sends by another call.
extern "C" fn send_for_want_of_memory(
    _signal: libc::c_int,
    _info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the system passes the registers of the call that it did not do, whose arguments are still in them.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let answer = if REFUSED.fetch_add(1, Ordering::Relaxed) % (SHORTAGES + 1) < SHORTAGES {
        -i64::from(libc::ENOBUFS)
    } else {
        let mut piece = libc::iovec {
            iov_base: registers[libc::REG_RSI as usize] as *mut libc::c_void,
            iov_len: registers[libc::REG_RDX as usize] as usize,
        };
        // SAFETY: all of it may be zero; the piece is what the caller wanted to send.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = &raw mut piece;
        message.msg_iovlen = 1;
        let [socket, flags] = [libc::REG_RDI, libc::REG_R10].map(|at| registers[at as usize]);
        // SAFETY: as above.
        unsafe { libc::sendmsg(socket as i32, &message, flags as i32) as i64 }
    };
    registers[libc::REG_RAX as usize] = answer;
}

/// Every byte that is to go over the socket is refused some times for want of memory.
fn speak_when_there_is_memory_again(connection: Connection) {
    let mut end = Setup::new(GEOMETRY)
        .produce(connection, soon())
        .unwrap()
        .slot()
        .unwrap();
    // SAFETY: the handler is for what the filter below brings about, and changes nothing but the answer of that call.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = send_for_want_of_memory as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO;
        assert_eq!(
            libc::sigaction(libc::SIGSYS, &action, std::ptr::null_mut()),
            0
        );
    }
    filter(libc::SYS_sendto, libc::SECCOMP_RET_TRAP);
    let assert_all_sent = |least: u32| {
        let tries = REFUSED.load(Ordering::Relaxed);
        assert!(tries >= least * (SHORTAGES + 1) && tries.is_multiple_of(SHORTAGES + 1));
    };
    end.send(b"word", soon()).unwrap();
    // It is told over the socket, whether it sleeps or not.
    end.waiter().wake();
    assert_all_sent(1);
    end.finish().unwrap();
    assert_all_sent(2);
    // Who is told of the end by what was said, and not by the death of this process, ends it.
    thread::sleep(SOON);
}

#[test]
fn a_wake_and_a_close_that_find_no_memory_are_told_when_there_is_some() {
    let mut other = Other::start("speak when there is memory again");
    let offer = other.connection().offer(soon()).unwrap().for_tasks();
    let mut task = Receiver::<Slot, Futex>::new(offer.consume().unwrap().slot().unwrap());
    let mut bytes = [0; 120];
    assert_eq!(block_on(task.receive(&mut bytes)), Ok(4));
    let answer = block_on(task.receive(&mut bytes));
    assert_eq!(answer, Err(Error::PeerClosed));
    assert_eq!(task.into_end().peer_state(), EndState::Draining);
    other.kill();
}

/// Says whatever can be said to peers that have hung up, with the signal for that as deadly as a new process has it.
fn speak_to_nobody() {
    // SAFETY: no handler is installed; whoever gets the signal dies of it.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let ends = || {
        let (one, other) = Connection::pair().unwrap();
        let peer = thread::spawn(move || {
            let offer = other.offer(soon()).unwrap().for_tasks();
            offer.consume().unwrap().slot().unwrap()
        });
        let end = one.produce(GEOMETRY, soon()).unwrap().slot().unwrap();
        (end, peer.join().unwrap())
    };
    let (wakes, gone) = ends();
    drop(gone);
    wakes.waiter().wake();
    drop(wakes);
    let (accuses, gone) = ends();
    drop(gone);
    accuses.waiter().accuse().unwrap();
    let (mut closes, gone) = ends();
    drop(gone);
    closes.finish().unwrap();
    let (offers, gone) = Connection::pair().unwrap();
    drop(gone);
    assert!(offers.produce(GEOMETRY, soon()).is_err());
}

#[test]
fn who_speaks_to_a_peer_that_is_gone_gets_no_signal() {
    runs_well_in_another_process("speak to nobody");
}

/// The thread of this process that listens to all sockets. It gives itself its name when it first runs.
fn watcher() -> libc::c_int {
    loop {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let mut tasks = tasks.map(|task| task.unwrap());
        let watcher = tasks.find(|task| {
            let name = std::fs::read_to_string(task.path().join("comm"));
            name.is_ok_and(|name| name.trim() == "ring watcher")
        });
        if let Some(watcher) = watcher {
            return watcher.file_name().into_string().unwrap().parse().unwrap();
        }
        thread::yield_now();
    }
}

/// Returns once the thread that listens is found at rest: asleep, and not once on a CPU in between.
fn assert_watcher_rests() {
    let status = format!("/proc/self/task/{}/status", watcher());
    let asleep = || {
        let text = std::fs::read_to_string(&status).unwrap();
        let of = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.unwrap().to_owned()
        };
        let switches = [of("voluntary_ctxt"), of("nonvoluntary_ctxt")];
        of("State:").contains("sleeping").then_some(switches)
    };
    let limit_ns = deadline_in(Duration::from_secs(10));
    let (mut last, mut looks) = (None, 0);
    while looks < 5 {
        assert!(now_ns() < limit_ns, "who listens never rests");
        thread::sleep(Duration::from_millis(10));
        let now = asleep();
        looks = match now.is_some() && now == last {
            true => looks + 1,
            false => 0,
        };
        last = now;
    }
}

/// Learns of a death, and looks what the thread that listens does then.
fn listen_to_the_dead() {
    let (one, other) = Connection::pair().unwrap();
    let peer = thread::spawn(move || {
        let _end = other.offer(soon()).unwrap().consume().unwrap();
        panic!("it dies, as this test has it");
    });
    let mut end = one.produce(GEOMETRY, soon()).unwrap().slot().unwrap();
    assert!(peer.join().is_err());
    while end.send(&[], soon()).is_ok() {}
    assert_eq!(end.peer_state(), EndState::Closed);
    assert_watcher_rests();
}

#[test]
fn who_listens_rests_once_a_peer_is_dead() {
    runs_well_in_another_process("listen to the dead");
}

extern "C" fn handled(_signal: libc::c_int) {}

#[test]
fn a_signal_that_is_handled_ends_no_wait_and_no_handshake() {
    // SAFETY: the handler does nothing, and calls that it interrupts are not begun again by the system.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handled as *const () as libc::sighandler_t;
        assert_eq!(
            libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()),
            0
        );
    }
    let interrupt = |thread: libc::c_int| {
        for _ in 0..20 {
            // SAFETY: it passes numbers.
            let sent =
                unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, libc::SIGUSR1) };
            assert_eq!(sent, 0);
            thread::sleep(Duration::from_millis(1));
        }
    };
    let (one, other) = Connection::pair().unwrap();
    let (tells, told) = std::sync::mpsc::channel();
    let sleeper = thread::spawn(move || {
        // SAFETY: it has no arguments.
        tells.send(unsafe { libc::gettid() }).unwrap();
        let mut end = other
            .offer(soon())
            .unwrap()
            .consume()
            .unwrap()
            .slot()
            .unwrap();
        let received = end.receive(&mut [0; 120], soon());
        (received, end.receive(&mut [0; 120], soon()))
    });
    let thread = told.recv().unwrap();
    interrupt(thread);
    let mut end = one.produce(GEOMETRY, soon()).unwrap().slot().unwrap();
    interrupt(thread);
    interrupt(watcher());
    end.try_send(b"late").unwrap();
    interrupt(thread);
    drop(end);
    assert_eq!(sleeper.join().unwrap(), (Ok(4), Err(Error::PeerClosed)));
}
