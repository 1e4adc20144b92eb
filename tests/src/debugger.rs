//! As much of gdb's remote protocol as it takes to stop a machine in places and to look at it.
//!
//! Source: "Debugging with GDB", appendix E; `qRcmd` reaches the monitor of QEMU.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const POLL: Duration = Duration::from_millis(2);
/// Places of registers in the answer to `g`, 8 bytes each.
const RSI: usize = 4;
const RDI: usize = 5;
const RIP: usize = 16;

/// A connection to a machine that stands still, except while it [goes on](Debugger::go_on).
#[derive(Debug)]
pub struct Debugger {
    stream: UnixStream,
    received: Vec<u8>,
}

/// Where the machine stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// The next instruction.
    pub address: u64,
    /// The first two arguments, if a function begins here.
    pub arguments: [u64; 2],
}

impl Debugger {
    /// Connects to the machine whose debugger interface will be at `socket`, unless `ended` comes
    /// true before that.
    ///
    /// # Errors
    /// When there is no such interface in the end.
    pub fn connect(socket: &Path, ended: &AtomicBool) -> io::Result<Debugger> {
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(error) if ended.load(Ordering::Acquire) => return Err(error),
                Err(_) => std::thread::sleep(POLL),
            }
        };
        Ok(Debugger {
            stream,
            received: Vec::new(),
        })
    }

    /// The machine stops before the instruction at `address`, whatever program that belongs to.
    ///
    /// # Errors
    /// As everything here: when the connection ends, which it does with the machine.
    pub fn stop_at(&mut self, address: u64) -> io::Result<()> {
        self.ask(&format!("Z0,{address:x},1")).map(drop)
    }

    /// Lets the machine run until it stops again.
    ///
    /// # Errors
    /// When the machine has ended.
    pub fn go_on(&mut self) -> io::Result<Stop> {
        let answer = self.ask("c")?;
        if !answer.starts_with(b"T") && !answer.starts_with(b"S") {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let registers = bytes_of(&self.ask("g")?);
        let register = |place: usize| {
            let bytes = registers.get(8 * place..8 * place + 8);
            bytes
                .and_then(|bytes| bytes.try_into().ok())
                .map_or(0, u64::from_le_bytes)
        };
        Ok(Stop {
            address: register(RIP),
            arguments: [register(RDI), register(RSI)],
        })
    }

    /// Executes the one instruction at `address`, where the machine stopped.
    ///
    /// # Errors
    /// When the connection ends.
    pub fn step_over(&mut self, address: u64) -> io::Result<()> {
        self.ask(&format!("z0,{address:x},1"))?;
        self.ask("s")?;
        self.stop_at(address)
    }

    /// Reads memory as the CPU that stopped sees it; nothing where nothing is mapped.
    ///
    /// # Errors
    /// When the connection ends.
    pub fn memory(&mut self, address: u64, len: usize) -> io::Result<Vec<u8>> {
        Ok(bytes_of(&self.ask(&format!("m{address:x},{len:x}"))?))
    }

    /// Gives a command to QEMU's monitor, whose words are not looked at.
    ///
    /// # Errors
    /// When the connection ends.
    pub fn monitor(&mut self, command: &str) -> io::Result<()> {
        let hex: String = command.bytes().map(|byte| format!("{byte:02x}")).collect();
        let mut answer = self.ask(&format!("qRcmd,{hex}"))?;
        // What it says comes first, in packets of its own.
        while answer.starts_with(b"O") && answer != b"OK" {
            answer = self.packet()?;
        }
        Ok(())
    }

    /// Sends a packet and waits for the answer.
    fn ask(&mut self, packet: &str) -> io::Result<Vec<u8>> {
        let sum = packet.bytes().fold(0_u8, u8::wrapping_add);
        write!(self.stream, "${packet}#{sum:02x}")?;
        self.packet()
    }

    fn packet(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some((packet, len)) = first_packet(&self.received) {
                let packet = packet.to_vec();
                self.received.drain(..len);
                self.stream.write_all(b"+")?;
                return Ok(packet);
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.received.extend_from_slice(&buffer[..count]),
            }
        }
    }
}

/// The first whole packet, and the bytes up to its end.
fn first_packet(received: &[u8]) -> Option<(&[u8], usize)> {
    let begin = received.iter().position(|byte| *byte == b'$')? + 1;
    let len = received[begin..].iter().position(|byte| *byte == b'#')?;
    // A checksum of two digits follows; a local socket loses nothing.
    let end = begin + len + 3;
    (received.len() >= end).then(|| (&received[begin..begin + len], end))
}

fn bytes_of(hex: &[u8]) -> Vec<u8> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    hex.chunks_exact(2).map_while(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::{bytes_of, first_packet};

    #[test]
    fn packets_are_found_among_acknowledgements_and_only_when_they_are_whole() {
        assert_eq!(first_packet(b"+$OK#9a$"), Some((&b"OK"[..], 7)));
        assert_eq!(first_packet(b"$#00"), Some((&b""[..], 4)));
        for part in ["", "+", "$", "$OK", "$OK#", "$OK#9"] {
            assert_eq!(first_packet(part.as_bytes()), None, "{part}");
        }
    }

    #[test]
    fn bytes_are_read_up_to_what_is_none() {
        assert_eq!(bytes_of(b"00ff7f"), [0, 0xff, 0x7f]);
        assert_eq!(bytes_of(b"12E0"), [0x12, 0xe0]);
        assert_eq!(bytes_of(b"12xx34"), [0x12]);
    }
}
