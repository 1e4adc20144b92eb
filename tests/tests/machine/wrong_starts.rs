//! What programs say when they are started with what they can't work with.

use std::time::Duration;

use crate::machines::{boot, exec};
use handover_tests::build::Profile;
use handover_tests::failure::EXIT_USAGE;
use handover_tests::machine::{Devices, Machine};

const TIME_LIMIT: Duration = Duration::from_secs(120);

/// A command, and what is said of it.
const WRONG: [(&str, &str); 8] = [
    ("names", "init starts it"),
    ("store", "a supervisor starts it"),
    ("supervisor", "needs the name of a service"),
    ("supervisor store", "needs a session and the image"),
    ("producer", "init starts it"),
    ("consumer", "init starts it"),
    ("stat often", "stat [MILLISECONDS [COUNT]]"),
    ("edu 5 many", "`many` is no number"),
];

#[test]
fn a_program_that_is_started_wrongly_says_in_one_line_how() {
    let machine = Machine {
        devices: Devices::Edu,
        time_limit: Some(TIME_LIMIT),
        ..Machine::default()
    };
    for (command, why) in WRONG {
        let run = boot(Profile::GuestChecked, &machine, b"", &exec(command));
        let lines = run.transcript.lines();
        let said = lines.iter().filter(|line| line.contains(why)).count();
        assert_eq!(run.exit_status(), Ok(EXIT_USAGE), "{lines:?}");
        assert_eq!(said, 1, "{why}: {lines:?}");
    }
}
