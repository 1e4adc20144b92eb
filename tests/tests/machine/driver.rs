//! A driver in user mode: QEMU's educational device computes, and interrupts.

use std::time::Duration;

use crate::machines::{boot, exec, said, status};
use handover_tests::build::Profile;
use handover_tests::machine::{Devices, Machine};
use handover_tests::qemu::Run;

const TIME_LIMIT: Duration = Duration::from_secs(120);

fn run(command: &str, cpus: u32, devices: Devices) -> Run {
    let machine = Machine {
        cpus,
        devices,
        time_limit: Some(TIME_LIMIT),
        ..Machine::default()
    };
    boot(Profile::GuestChecked, &machine, b"", &exec(command))
}

fn has_line(run: &Run, line: &str) -> bool {
    run.transcript.lines().iter().any(|said| said == line)
}

#[test]
fn a_program_drives_a_device_by_its_registers_and_its_interrupt() {
    for cpus in [1, 2] {
        let run = run("edu 0 5 12 13", cpus, Devices::Edu);
        assert_eq!(status(&run), 0, "{}", said(&run));
        for line in [
            "edu: 0! = 1, told by an interrupt",
            "edu: 5! = 120, told by an interrupt",
            "edu: 12! = 479001600, told by an interrupt",
            "edu: 13! = 1932053504 modulo 2^32, told by an interrupt",
            "edu: 1000 interrupts while nobody waited set one bit",
            "edu: 1 interrupt strayed after the end of its object",
        ] {
            assert!(has_line(&run, line), "{cpus} CPUs: {line}\n{}", said(&run));
        }
    }
}

#[test]
fn a_driver_that_ends_is_started_again_and_its_client_gets_every_answer() {
    let commands = [("edu --kept 5 12", 0), ("edu --kept --fuse 20,35 5 12", 3)];
    for (command, expected) in commands {
        let run = run(command, 2, Devices::Edu);
        assert_eq!(status(&run), expected, "{}", said(&run));
        for line in [
            "edu: 5! = 120, told by the driver",
            "edu: 12! = 479001600, told by the driver",
        ] {
            assert!(has_line(&run, line), "{command}: {line}\n{}", said(&run));
        }
        let again = "supervisor: edu: again in 10 ms (1 of 5)";
        assert_eq!(has_line(&run, again), expected != 0, "{}", said(&run));
    }
}

#[test]
fn a_machine_without_the_device_has_nothing_to_drive() {
    let run = run("edu", 2, Devices::None);
    assert_eq!(status(&run), 1);
    let line = "edu: this machine has no such device; --edu gives it one";
    assert!(has_line(&run, line));
}
