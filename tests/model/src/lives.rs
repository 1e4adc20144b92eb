//! How processes end, begin, and come to know one another.

use std::sync::Arc;

use abi::{Error, Handle, Rights};
use fake::FakeProcess;
use ipc::Payload;

use crate::subject::{Domain, Subject};
use crate::{CPUS, PROCESSES};

impl Subject {
    /// A handle by which one process knows another.
    pub(crate) fn introduce(&self, place: usize, of: usize) -> Handle {
        let process = FakeProcess::of(self.domains[of].koid());
        self.ipc
            .install_object(
                &self.domains[place],
                Payload::Process(process),
                Rights::PROCESS,
            )
            .expect("there is room for a handle")
    }

    pub(crate) fn run_on(&mut self, cpu: usize, place: Option<usize>) {
        let space = place.map(|place| self.domains[place].space());
        fake::enter(self.memory(), cpu, space);
        self.running[cpu] = place;
    }

    /// The process in a place, if it has not ended.
    pub(crate) fn domain(&self, place: usize) -> Option<&Arc<Domain>> {
        (!self.ended[place]).then(|| &self.domains[place])
    }

    /// Ends a process as a kernel does.
    pub fn exit(&mut self, place: usize) {
        for cpu in 0..CPUS {
            if self.running[cpu] == Some(place) {
                self.run_on(cpu, None);
            }
        }
        self.ended[place] = true;
        self.ipc.clear_domain(&self.domains[place]);
        self.memory().destroy_space(self.domains[place].space());
    }

    /// A new process in a place, which nobody knows yet.
    pub(crate) fn start(&mut self, place: usize) -> Result<(), Error> {
        self.domains[place] = self.create_domain()?;
        self.ended[place] = false;
        self.handles[place] = Default::default();
        self.mappings[place] = Default::default();
        Ok(())
    }

    /// Makes a new process known to all and all known to it.
    pub fn introduce_all(&mut self, place: usize) {
        for other in (0..PROCESSES).filter(|other| *other != place) {
            if !self.ended[other] {
                let before = self.via[other][place];
                self.ipc
                    .drop_capability(&self.domains[other], before)
                    .expect("it knew the one before");
                self.via[other][place] = self.introduce(other, place);
            }
        }
        self.via[place] = (0..PROCESSES).map(|of| self.introduce(place, of)).collect();
    }
}
