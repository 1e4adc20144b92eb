//! What cases say: a case that fails prints one line and ends.

use rt::{Process, ProcessState, ProcessStatus};

/// How long a case waits for something that should come soon, in ms.
pub const SOON_MS: u64 = 2_000;

/// The vector of a page fault, and the bits of its error code (Intel SDM volume 3, 4.7).
pub const PAGE_FAULT: u32 = 14;
/// The page was there.
pub const PRESENT: u32 = 1 << 0;
/// It was a write.
pub const WRITE: u32 = 1 << 1;
/// It was an instruction fetch.
pub const FETCH: u32 = 1 << 4;

/// Ends the process with a line unless the condition holds.
macro_rules! check {
    ($condition:expr, $($text:tt)*) => {
        if !$condition {
            rt::println!("{}:{}: {}", file!(), line!(), format_args!($($text)*));
            rt::exit(1);
        }
    };
}

/// Ends the process with a line unless both are equal.
macro_rules! same {
    ($left:expr, $right:expr, $($text:tt)*) => {
        match (&$left, &$right) {
            (left, right) => check!(
                left == right,
                "{}: {left:?} instead of {right:?}",
                format_args!($($text)*)
            ),
        }
    };
}

/// The value of a result; ends the process with a line when there is none.
macro_rules! done {
    ($result:expr, $($text:tt)*) => {
        match $result {
            Ok(value) => value,
            Err(error) => {
                let what = format_args!($($text)*);
                rt::println!("{}:{}: {what}: {error}", file!(), line!());
                rt::exit(1)
            }
        }
    };
}

/// Ends the process with a line unless the result is this error.
macro_rules! refused {
    ($result:expr, $error:expr, $($text:tt)*) => {
        match $result {
            Err(error) => same!(error, $error, $($text)*),
            Ok(_) => check!(false, "{}: was not refused", format_args!($($text)*)),
        }
    };
}

/// Waits for the end of a process.
pub fn wait(process: &Process) -> ProcessStatus {
    done!(process.wait(rt::in_ms(SOON_MS)), "waiting for a child")
}

/// Waits for a process that has to end in order.
pub fn succeeds(process: &Process) {
    exits(process, 0);
}

/// Waits for a process that has to exit with a status.
pub fn exits(process: &Process, status: u32) {
    let ended = wait(process);
    same!(
        (ended.state, ended.status),
        (ProcessState::Exited as u32, status),
        "how the child ended (vector {}, address {:#x})",
        ended.vector,
        ended.address
    );
}

/// Waits for a process that has to end by an exception.
pub fn faults(process: &Process, vector: u32) -> ProcessStatus {
    let ended = wait(process);
    same!(
        (ended.state, ended.vector),
        (ProcessState::Faulted as u32, vector),
        "how the child ended (status {}, address {:#x})",
        ended.status,
        ended.address
    );
    ended
}

/// Waits for a process that has to end by a page fault at an address.
pub fn faults_at(process: &Process, address: u64) -> ProcessStatus {
    let ended = faults(process, PAGE_FAULT);
    same!(ended.address, address, "the address of the fault");
    ended
}

/// Repeats until it is so, or until it should have been so long ago.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let limit = rt::in_ms(SOON_MS);
    while !condition() {
        check!(rt::now_ns() < limit, "it never came: {what}");
        // The CPUs of an emulated machine take turns, and who asks all the time leaves the others none.
        done!(rt::sleep_until(rt::now_ns() + 100_000), "a pause");
    }
}

/// Has the process end with a line unless it ends long before that by itself: for a case that would hang otherwise.
pub fn must_end() {
    let limit = rt::in_ms(5 * SOON_MS);
    let watch = rt::Thread::spawn(move || {
        done!(rt::sleep_until(limit), "sleeping");
        check!(false, "it does not end");
    });
    done!(watch.map(drop), "a thread");
}

/// A moment of a program that has nothing to do and keeps its CPU. The other CPUs of an emulated machine
/// have their turn at the end of it; that is dear, and so not more often. It is shorter than any slice of a seeded
/// schedule, as time goes on for all CPUs while one has its turn, or slices would be over before they begin.
pub fn spin_a_while() {
    for step in 0..256 {
        core::hint::black_box(step);
    }
    core::hint::spin_loop();
}

/// The CPUs that run.
pub fn cpus() -> u32 {
    done!(rt::system_info(), "system_info").cpus
}

/// The CPU for a child that should not run where the case runs, as a bit; the same if there is one.
pub fn other_cpu() -> u64 {
    1 << (cpus() > 1) as u64
}
