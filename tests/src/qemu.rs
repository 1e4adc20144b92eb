//! Running QEMU: found, new enough, streamed line by line, and never longer than allowed.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::serial::{Lines, Transcript};

/// Names the emulator to use instead of the one on the path.
pub const QEMU_VARIABLE: &str = "HANDOVER_QEMU";

const QEMU: &str = "qemu-system-x86_64";
/// PVH boot and the options used here are known to work from this version on.
const OLDEST: (u32, u32) = (7, 0);
const VERSION_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(2);

/// An emulator that is there and new enough.
#[derive(Debug, Clone)]
pub struct Qemu {
    program: PathBuf,
}

/// How a run of QEMU ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It exited with this status.
    Status(i32),
    /// A signal that we did not send killed it.
    Signal(i32),
    /// It reached the time limit and was killed.
    TimedOut(Duration),
}

/// What a run of QEMU left behind.
#[derive(Debug, Clone)]
pub struct Run {
    /// How it ended.
    pub ending: Ending,
    /// What the machine wrote to its serial port.
    pub transcript: Transcript,
    /// What QEMU itself complained about.
    pub complaints: String,
}

impl Qemu {
    /// Finds the emulator: the one that `HANDOVER_QEMU` names, else the one on the path.
    ///
    /// # Errors
    /// As [`Qemu::at`].
    pub fn find() -> Result<Self, Failure> {
        Self::at(std::env::var_os(QEMU_VARIABLE).unwrap_or_else(|| QEMU.into()))
    }

    /// Takes the emulator at `program` after a look at its version.
    ///
    /// # Errors
    /// A line that says what to do when it is missing, too old, or no QEMU.
    pub fn at(program: impl Into<PathBuf>) -> Result<Self, Failure> {
        let qemu = Self {
            program: program.into(),
        };
        let name = qemu.program.display();
        let run = qemu.run(&["--version".into()], Some(VERSION_LIMIT), &mut |_| {})?;
        let version = run
            .transcript
            .lines()
            .iter()
            .find_map(|line| parse_version(line));
        match version {
            Some(version) if version >= OLDEST => Ok(qemu),
            Some((major, minor)) => Err(Failure::failed(format!(
                "{name} is version {major}.{minor}; {}.{} or later is needed: upgrade it, or name \
                 another with {QEMU_VARIABLE}",
                OLDEST.0, OLDEST.1
            ))),
            None => Err(Failure::failed(format!(
                "{name} does not tell its version: it seems to be no QEMU; name one with \
                 {QEMU_VARIABLE}"
            ))),
        }
    }

    /// The program itself.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Runs it with `arguments`, hands every line of its output to `on_line` as it comes, and kills
    /// it at `limit`.
    ///
    /// # Errors
    /// Only when it can't be started; every way to end is an [`Ending`].
    pub fn run(
        &self,
        arguments: &[OsString],
        limit: Option<Duration>,
        on_line: &mut dyn FnMut(&str),
    ) -> Result<Run, Failure> {
        let mut child = Command::new(&self.program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| self.not_started(&error))?;
        let deadline = limit.map(|limit| Instant::now() + limit);
        let output = child.stdout.take().map(stream);
        let complaints = child.stderr.take().map(stream);

        let mut transcript = Transcript::default();
        let mut lines = Lines::default();
        let mut keep = |line: &str| {
            on_line(line);
            transcript.push(line);
        };
        if let Some(output) = &output {
            while let Some(chunk) = receive(output, deadline) {
                lines.feed(&chunk, &mut keep);
            }
        }
        lines.finish(&mut keep);
        let ending = match wait(&mut child, deadline) {
            Some(status) => ending(status),
            None => Ending::TimedOut(limit.unwrap_or_default()),
        };
        // A grandchild may hold the pipe open after the child is gone: take what is there.
        let grace = Some(Instant::now() + Duration::from_millis(200));
        let mut complained = Vec::new();
        if let Some(complaints) = &complaints {
            while let Some(chunk) = receive(complaints, grace) {
                complained.extend_from_slice(&chunk);
            }
        }
        let complaints = String::from_utf8_lossy(&complained).trim().to_owned();
        Ok(Run {
            ending,
            transcript,
            complaints,
        })
    }

    fn not_started(&self, error: &std::io::Error) -> Failure {
        let name = self.program.display();
        Failure::failed(match error.kind() {
            std::io::ErrorKind::NotFound => format!(
                "{name} is missing: run `make setup`, install the package qemu-system-x86, or name another with {QEMU_VARIABLE}"
            ),
            _ => format!("{name} can't be started: {error}"),
        })
    }
}

/// Waits for `child` until `deadline`, then kills it. `None` means that it was killed here.
fn wait(child: &mut Child, deadline: Option<Instant>) -> Option<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if deadline.is_none_or(|deadline| Instant::now() < deadline) => {
                std::thread::sleep(POLL);
            }
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}

fn ending(status: ExitStatus) -> Ending {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ending::Status(code),
        (None, Some(signal)) => Ending::Signal(signal),
        (None, None) => Ending::Signal(0),
    }
}

/// The next chunk of a stream; `None` at its end and at the deadline.
fn receive(stream: &Receiver<Vec<u8>>, deadline: Option<Instant>) -> Option<Vec<u8>> {
    let Some(deadline) = deadline else {
        return stream.recv().ok();
    };
    let left = deadline.saturating_duration_since(Instant::now());
    stream.recv_timeout(left).ok()
}

/// Reads `source` in a thread of its own, so that a silent machine can't hold us up.
fn stream(mut source: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::sync_channel(64);
    std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(count @ 1..) = source.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Reads major and minor number from a line like `QEMU emulator version 7.2.22 (Debian …)`.
fn parse_version(line: &str) -> Option<(u32, u32)> {
    let mut numbers = line
        .strip_prefix("QEMU emulator version ")?
        .split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

impl Run {
    /// Whether the kernel checked itself and found all well.
    pub fn passed_self_check(&self) -> bool {
        self.ending == Ending::Status(33) && self.transcript.last_line() == "selfcheck: passed"
    }

    /// The exit status of `init`, when the machine came to an orderly end.
    ///
    /// # Errors
    /// One line that says how it ended instead, and what to do.
    pub fn exit_status(&self) -> Result<u8, Failure> {
        let transcript = &self.transcript;
        let last = transcript.last_line();
        let silent = transcript.lines().is_empty();
        Err(Failure::failed(match self.ending {
            Ending::Status(33) => match transcript.exit_status() {
                Some(status) => return Ok(status),
                None if silent => {
                    "the machine ended without a word: its serial port was silent".into()
                }
                None => format!(
                    "the machine ended without the exit status of init; the last line was: {last}"
                ),
            },
            Ending::Status(35) => match transcript.panic_message() {
                Some(message) => format!("the kernel panicked: {message}"),
                None => format!("the kernel panicked; the last line was: {last}"),
            },
            Ending::Status(0) => format!(
                "the machine reset itself (a triple fault){}; look at it with --gdb",
                if silent {
                    " before it printed a line".into()
                } else {
                    format!(" after: {last}")
                }
            ),
            Ending::Status(status) => match self.complaints.lines().last() {
                Some(complaint) => format!("QEMU gave up with status {status}: {complaint}"),
                None => {
                    format!("QEMU gave up with status {status}; see --verbose for its command line")
                }
            },
            Ending::Signal(signal) => match self.complaints.lines().last() {
                Some(complaint) => format!("QEMU was killed by signal {signal}: {complaint}"),
                None => format!(
                    "QEMU was killed by signal {signal} (is the host short of memory? see --memory)"
                ),
            },
            Ending::TimedOut(limit) => {
                let seconds = limit.as_secs_f64();
                return Err(Failure::timed_out(if silent {
                    format!(
                        "the machine printed nothing in {seconds} s and was stopped; look at it with --gdb"
                    )
                } else {
                    format!(
                        "the machine was stopped after {seconds} s (--timeout); the last line was: {last}"
                    )
                }));
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn versions_of_distributions_are_read() {
        assert_eq!(
            parse_version("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)"),
            Some((7, 2))
        );
        assert_eq!(
            parse_version("QEMU emulator version 11.0.50"),
            Some((11, 0))
        );
        assert_eq!(
            parse_version("QEMU emulator version 6.2.0 (Debian 1:6.2)"),
            Some((6, 2))
        );
        assert_eq!(parse_version("bash, version 5.2"), None);
        assert_eq!(parse_version("QEMU emulator version x.y"), None);
    }
}
