//! What interrupts by itself: the alarm of each CPU, and lines of devices. Both do so when a test
//! says so.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use abi::{Error, InterruptInfo};
use ipc::{Interrupt, Line};

use crate::machine::lock;
use crate::{FakeMachine, current_cpu};

/// Lines that the machine has, all together.
const LINES: usize = 4;

/// The lines, and when each CPU is to look at its timers.
#[derive(Debug)]
pub(crate) struct Lines {
    alarms: Vec<AtomicU64>,
    owners: Mutex<[Owner; LINES]>,
}

#[derive(Clone, Debug, Default)]
enum Owner {
    #[default]
    Nobody,
    Reserved,
    Interrupt(Arc<Interrupt<FakeMachine>>),
    /// A device may still write to it.
    Resting,
}

impl Lines {
    pub(crate) fn new(cpus: usize) -> Lines {
        Lines {
            alarms: (0..cpus).map(|_| AtomicU64::new(u64::MAX)).collect(),
            owners: Mutex::default(),
        }
    }

    pub(crate) fn set_alarm(&self, cpu: usize, at_ns: u64) {
        assert_eq!(cpu, current_cpu(), "an alarm is set where it goes off");
        self.alarms[cpu].store(at_ns, Ordering::SeqCst);
    }

    pub(crate) fn reserve(&self) -> Result<Line, Error> {
        let mut owners = lock(&self.owners);
        let free = |owner: &Owner| matches!(owner, Owner::Nobody);
        let number = owners.iter().position(free).ok_or(Error::Limit)?;
        owners[number] = Owner::Reserved;
        Ok(Line {
            cpu: current_cpu(),
            number: number as u8,
            message: InterruptInfo {
                address: 0xfee0_0000,
                data: number as u32,
                reserved: 0,
            },
        })
    }

    pub(crate) fn connect(&self, interrupt: &Arc<Interrupt<FakeMachine>>) {
        let owner = &mut lock(&self.owners)[usize::from(interrupt.line().number)];
        assert!(matches!(owner, Owner::Reserved), "it was not reserved");
        *owner = Owner::Interrupt(interrupt.clone());
    }

    pub(crate) fn release(&self, line: Line) {
        let owner = &mut lock(&self.owners)[usize::from(line.number)];
        *owner = match owner {
            Owner::Interrupt(_) => Owner::Resting,
            _ => Owner::Nobody,
        };
    }
}

impl FakeMachine {
    /// When a CPU is to look at its timers.
    pub fn alarm_ns(&self, cpu: usize) -> u64 {
        self.lines.alarms[cpu].load(Ordering::SeqCst)
    }

    /// The interrupt that a device has just asked for by writing to a line, if it is somebody's.
    pub fn written_to(&self, line: u32) -> Option<Arc<Interrupt<FakeMachine>>> {
        match &lock(&self.lines.owners)[line as usize] {
            Owner::Interrupt(interrupt) => Some(interrupt.clone()),
            Owner::Nobody | Owner::Reserved | Owner::Resting => None,
        }
    }

    /// So much time passes that no line rests any more.
    pub fn rest_lines(&self) {
        for owner in lock(&self.lines.owners).iter_mut() {
            if matches!(owner, Owner::Resting) {
                *owner = Owner::Nobody;
            }
        }
    }
}
