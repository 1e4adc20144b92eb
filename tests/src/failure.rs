//! The one error of the runner: a line for the person and an exit status for the caller.

use std::fmt;

/// The exit status when a check failed or the machine did not do its work.
pub const EXIT_FAILED: u8 = 1;
/// The exit status for a wrong option and for a file that is missing or of no use.
pub const EXIT_USAGE: u8 = 2;
/// The exit status when the time limit stopped the machine, as `timeout(1)` has it.
pub const EXIT_TIMED_OUT: u8 = 124;

/// Why the runner gives up: what it says and the status it ends with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    message: String,
    exit_status: u8,
}

impl Failure {
    /// A check failed, or the machine did not do its work.
    pub fn failed(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            exit_status: EXIT_FAILED,
        }
    }

    /// The request itself is wrong: an option, or a file that it names.
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            exit_status: EXIT_USAGE,
        }
    }

    /// The time limit stopped the machine.
    pub fn timed_out(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            exit_status: EXIT_TIMED_OUT,
        }
    }

    /// The status that the runner ends with.
    pub fn exit_status(&self) -> u8 {
        self.exit_status
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
