//! What the tests have in common that boot Handover.

use std::sync::{Condvar, Mutex, OnceLock};

use handover_tests::boot::Boot;
use handover_tests::build::{self, Guest, Profile};
use handover_tests::machine::Machine;
use handover_tests::options::Job;
use handover_tests::program::ProgramFile;
use handover_tests::qemu::{Qemu, Run};

/// How many machines may run at once.
const MACHINES: usize = 2;

/// Counts the machines that may still be started.
struct Places {
    free: Mutex<usize>,
    freed: Condvar,
}

static PLACES: Places = Places {
    free: Mutex::new(MACHINES),
    freed: Condvar::new(),
};

/// A machine's place; dropping it lets the next one start.
struct Place;

impl Place {
    fn take() -> Self {
        let free = PLACES.free.lock().expect("no holder panics");
        let mut free = PLACES
            .freed
            .wait_while(free, |free| *free == 0)
            .expect("no holder panics");
        *free -= 1;
        Self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *PLACES.free.lock().expect("no holder panics") += 1;
        PLACES.freed.notify_one();
    }
}

/// The kernel and the programs, built once.
pub fn guest(profile: Profile) -> &'static Guest {
    static OPTIMISED: OnceLock<Guest> = OnceLock::new();
    static CHECKED: OnceLock<Guest> = OnceLock::new();
    let cell = match profile {
        Profile::Guest => &OPTIMISED,
        Profile::GuestChecked => &CHECKED,
    };
    cell.get_or_init(|| build::guest(profile).expect("the guest builds"))
}

/// Boots once, and waits for the end of the machine.
pub fn boot(profile: Profile, machine: &Machine, input: &[u8], job: &Job) -> Run {
    boot_with(profile, machine, &[], input, job)
}

/// The same with programs besides those of the repository.
pub fn boot_with(
    profile: Profile,
    machine: &Machine,
    programs: &[(ProgramFile, Vec<u8>)],
    input: &[u8],
    job: &Job,
) -> Run {
    let boot = Boot {
        qemu: &Qemu::find().expect("QEMU is there"),
        guest: guest(profile),
        machine,
        programs,
        input,
        arguments: &job.arguments(),
    };
    let _place = Place::take();
    boot.run(|_| {}, &mut |_| {}).expect("QEMU starts")
}

/// The job of running a command, whose words spaces separate.
pub fn exec(command: &str) -> Job {
    Job::Exec(command.split(' ').map(str::to_owned).collect())
}

/// The status of init, which is that of a program that was run, or a panic with all that the machine said.
pub fn status(run: &Run) -> u8 {
    run.exit_status()
        .unwrap_or_else(|failure| panic!("{failure}\n{}", run.transcript.lines().join("\n")))
}

/// All that the machine said.
pub fn said(run: &Run) -> String {
    run.transcript.lines().join("\n")
}
