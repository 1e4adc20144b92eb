//! A driver in user mode: QEMU's educational device computes, and interrupts.

use std::time::Duration;

use handover_tests::boot::Boot;
use handover_tests::build::{self, Guest, Profile};
use handover_tests::machine::{Devices, Machine};
use handover_tests::options::Job;
use handover_tests::qemu::{Qemu, Run};

const TIME_LIMIT: Duration = Duration::from_secs(120);

fn guest() -> Guest {
    build::guest(Profile::GuestChecked).expect("the guest builds")
}

fn edu(guest: &Guest, machine: &Machine, numbers: &[&str]) -> Run {
    let qemu = Qemu::find().expect("QEMU is there");
    let words = ["edu"].iter().chain(numbers).map(|word| (*word).to_owned());
    let boot = Boot {
        qemu: &qemu,
        guest,
        machine,
        programs: &[],
        input: &[],
        arguments: &Job::Exec(words.collect()).arguments(),
    };
    boot.run(|_| {}, &mut |_| {}).expect("QEMU starts")
}

/// The status of the program, or a panic with all that the machine said.
fn status(run: &Run) -> u8 {
    run.exit_status()
        .unwrap_or_else(|failure| panic!("{failure}\n{}", run.transcript.lines().join("\n")))
}

fn said(run: &Run, line: &str) -> bool {
    run.transcript.lines().iter().any(|said| said == line)
}

#[test]
fn a_program_drives_a_device_by_its_registers_and_its_interrupt() {
    let guest = guest();
    for cpus in [1, 2] {
        let machine = Machine {
            cpus,
            devices: Devices::Edu,
            time_limit: Some(TIME_LIMIT),
            ..Machine::default()
        };
        let run = edu(&guest, &machine, &["0", "5", "12"]);
        assert_eq!(status(&run), 0, "{}", run.transcript.lines().join("\n"));
        for told in ["0! = 1", "5! = 120", "12! = 479001600"] {
            let line = format!("edu: {told}, told by an interrupt");
            assert!(said(&run, &line), "{cpus} CPUs: {line}");
        }
        for line in [
            "edu: 1000 interrupts while nobody waited set one bit",
            "edu: 1 interrupt strayed after the end of its object",
        ] {
            assert!(said(&run, line), "{cpus} CPUs: {line}");
        }
    }
}

#[test]
fn a_machine_without_the_device_has_nothing_to_drive() {
    let machine = Machine {
        time_limit: Some(TIME_LIMIT),
        ..Machine::default()
    };
    let run = edu(&guest(), &machine, &[]);
    assert_eq!(status(&run), 1);
    let line = "edu: this machine has no such device; --edu gives it one";
    assert!(said(&run, line));
}
