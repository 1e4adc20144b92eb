//! What instructions a figure consists of, by watching one more sample of it.
//!
//! Around that sample the benchmark and the kernel call `bench_window_begins` and `bench_window_ends`. The
//! machine stops in both, and in between QEMU logs the address of every instruction that it executes.
//! Nothing of this is counted by the machine's clock.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use object::{Object, ObjectSymbol};

use crate::build::Guest;
use crate::dear::{Counts, Text};
use crate::debugger::{Debugger, Stop};
use crate::failure::Failure;

const BEGINS: &str = "bench_window_begins";
const ENDS: &str = "bench_window_ends";
/// The name that a figure may have at most.
const KEY_LIMIT: u64 = 64;
/// Bytes of a function that tell it from what another program has at the same address.
const TELLING: usize = 12;
/// What makes QEMU execute one instruction at a time, before version 8.1 and since then.
const ONE_BY_ONE: [&str; 2] = ["singlestep", "one-insn-per-tb"];

/// Watches one run, in a thread of its own.
#[derive(Debug)]
pub struct Tracer {
    directory: tempfile::TempDir,
    ended: Arc<AtomicBool>,
    watching: JoinHandle<BTreeMap<String, Counts>>,
}

impl Tracer {
    /// Waits for a machine that is traced to [`directory`](Tracer::directory).
    ///
    /// # Errors
    /// When an executable of `guest` can't be read or has no windows.
    pub fn start(guest: &Guest) -> Result<Self, Failure> {
        let directory = tempfile::tempdir()
            .map_err(|error| Failure::failed(format!("no place for a trace: {error}")))?;
        let mut watch = Watch::new(directory.path())?;
        let bench = guest.programs.get("bench");
        let bench = bench.ok_or_else(|| Failure::failed("there is no program bench"))?;
        for path in [&guest.kernel, bench] {
            watch.add(path)?;
        }
        let ended = Arc::new(AtomicBool::new(false));
        let over = ended.clone();
        let watching = std::thread::spawn(move || {
            let mut counted = BTreeMap::new();
            // It ends with the machine, and so with an error.
            let _ = watch.follow(&over, &mut counted);
            counted
        });
        Ok(Self {
            directory,
            ended,
            watching,
        })
    }

    /// What [`Machine::trace`](crate::machine::Machine::trace) has to be.
    pub fn directory(&self) -> PathBuf {
        self.directory.path().to_path_buf()
    }

    /// After the end of the machine: what was counted, by the key of the figure.
    pub fn finish(self) -> BTreeMap<String, Counts> {
        self.ended.store(true, Ordering::Release);
        self.watching.join().unwrap_or_default()
    }
}

/// Where a machine that is traced to `directory` has its debugger interface.
pub fn socket(directory: &Path) -> PathBuf {
    directory.join("debugger")
}

/// Where it logs what it executes.
pub fn log(directory: &Path) -> PathBuf {
    directory.join("executed")
}

/// Reads a log of `-d exec`, where the second of the numbers in brackets is an address:
/// `Trace 0: 0x7f… [00000000/0000000000401000/0040c0b3/ff000201]`.
pub fn executed(log: &str) -> Vec<u64> {
    let address = |line: &str| {
        let numbers = line.strip_prefix("Trace ")?.split_once('[')?.1;
        u64::from_str_radix(numbers.split('/').nth(1)?, 16).ok()
    };
    log.lines().filter_map(address).collect()
}

/// A place where the machine stops.
#[derive(Debug)]
struct Place {
    address: u64,
    begins: bool,
    telling: Vec<u8>,
}

#[derive(Debug)]
struct Watch {
    socket: PathBuf,
    log: PathBuf,
    text: Text,
    places: Vec<Place>,
}

impl Watch {
    fn new(directory: &Path) -> Result<Self, Failure> {
        let log = log(directory);
        std::fs::write(&log, "")
            .map_err(|error| Failure::failed(format!("no place for a trace: {error}")))?;
        Ok(Self {
            socket: socket(directory),
            log,
            text: Text::default(),
            places: Vec::new(),
        })
    }

    /// Adds the code of an executable, and the windows in it.
    fn add(&mut self, path: &Path) -> Result<(), Failure> {
        let name = path.display();
        let unreadable = |error: &dyn std::fmt::Display| {
            Failure::failed(format!("{name} can't be read: {error}"))
        };
        let bytes = std::fs::read(path).map_err(|error| unreadable(&error))?;
        let file = object::File::parse(bytes.as_slice()).map_err(|error| unreadable(&error))?;
        self.text.add_file(&file);
        for (place, begins) in [(BEGINS, true), (ENDS, false)] {
            // The kernel's has its path around it.
            let symbol = file
                .symbols()
                .find(|symbol| symbol.name().is_ok_and(|name| name.contains(place)));
            let symbol = symbol.ok_or_else(|| Failure::failed(format!("{name} has no {place}")))?;
            let address = symbol.address();
            let code = self.text.from(address).unwrap_or_default();
            self.places.push(Place {
                address,
                begins,
                telling: code[..TELLING.min(code.len())].to_vec(),
            });
        }
        Ok(())
    }

    fn follow(&self, ended: &AtomicBool, counted: &mut BTreeMap<String, Counts>) -> io::Result<()> {
        let mut machine = Debugger::connect(&self.socket, ended)?;
        for place in &self.places {
            machine.stop_at(place.address)?;
        }
        let mut window: Option<String> = None;
        loop {
            let stop = machine.go_on()?;
            match self.place(&mut machine, stop)? {
                Some(place) if place.begins => {
                    window = Some(key(&mut machine, stop)?);
                    std::fs::write(&self.log, "")?;
                    self.log_each_instruction(&mut machine, true)?;
                }
                Some(place) if let Some(key) = window.take() => {
                    self.log_each_instruction(&mut machine, false)?;
                    let log = std::fs::read(&self.log)?;
                    let executed = executed(&String::from_utf8_lossy(&log));
                    if let Some(counts) = self.text.count(&executed, place.address) {
                        counted.insert(key, counts);
                    }
                }
                _ => {}
            }
            machine.step_over(stop.address)?;
        }
    }

    /// The place where the machine stopped, if it is not another program's.
    fn place(&self, machine: &mut Debugger, stop: Stop) -> io::Result<Option<&Place>> {
        let mut places = self.places.iter();
        let Some(place) = places.find(|place| place.address == stop.address) else {
            return Ok(None);
        };
        let there = machine.memory(place.address, place.telling.len())?;
        Ok((there == place.telling).then_some(place))
    }

    fn log_each_instruction(&self, machine: &mut Debugger, on: bool) -> io::Result<()> {
        let log = if on { "log exec,nochain" } else { "log none" };
        let switch = if on { "on" } else { "off" };
        machine.monitor(log)?;
        // It does not know one of the two, and says so.
        for command in ONE_BY_ONE {
            machine.monitor(&format!("{command} {switch}"))?;
        }
        Ok(())
    }
}

/// The name of the figure, which whoever opens the window points to.
fn key(machine: &mut Debugger, stop: Stop) -> io::Result<String> {
    let [address, len] = stop.arguments;
    let name = machine.memory(address, len.min(KEY_LIMIT) as usize)?;
    Ok(String::from_utf8_lossy(&name).into_owned())
}
