//! One program on both: the crates and the model.

use std::collections::BTreeMap;
use std::sync::Arc;

use abi::{Error, Rights};
use mm::Frame;

use crate::judge::same;
use crate::spec::{Region, Spec};
use crate::subject::{Answer, Subject, Value};
use crate::sweep::{Injection, Nothing};
use crate::{PROCESSES, REGISTERS, Step, TOKENS};

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It said nothing: what it names is not there.
    Nothing,
    /// It was answered, as the model says.
    Answered(Answer),
    /// Memory was made to fail, and it was answered so.
    Failed,
}

/// The crates and the model side by side.
pub struct Run {
    /// The crates.
    pub subject: Subject,
    /// The model.
    pub spec: Spec,
    /// The real region behind each of the model's.
    pub regions: Vec<Option<Arc<mm::Region>>>,
    /// The model's number of the process in each place.
    pub processes: [usize; PROCESSES],
    /// The model's numbers of what is in the registers.
    pub handles: [[usize; REGISTERS]; PROCESSES],
    /// The same for tokens.
    pub tokens: [usize; TOKENS],
    /// The frames of each region that is pinned, by page; none of those that no pin was for.
    pub pinned: BTreeMap<usize, Vec<Option<Frame>>>,
    /// `known[a][b]`: whom process a believes to be in place b.
    pub known: [[usize; PROCESSES]; PROCESSES],
}

impl Run {
    /// Both at their beginning, on a machine of so many frames. The seed decides when interrupts
    /// arrive.
    pub fn new(seed: u64, frames: u64) -> Run {
        let mut spec = Spec {
            frames,
            ..Spec::default()
        };
        let processes = std::array::from_fn(|_| spec.start());
        Run {
            subject: Subject::new(seed, frames),
            spec,
            regions: Vec::new(),
            processes,
            handles: Default::default(),
            tokens: Default::default(),
            pinned: BTreeMap::new(),
            known: [processes; PROCESSES],
        }
    }

    /// Does one step on both and compares the answers.
    ///
    /// # Panics
    /// When they differ.
    pub fn step(&mut self, step: Step) -> Outcome {
        self.attempt(step, &Nothing, 0)
    }

    /// The same while something is made to fail, after so many times that it does not. A step that
    /// fails for it leaves the model as it was.
    ///
    /// # Panics
    /// When the answers differ, or when it fails with an error that neither what failed nor the model asks for.
    pub fn attempt(&mut self, step: Step, injection: &impl Injection, calls: u64) -> Outcome {
        let available = self.subject.machine().pool().available();
        injection.arm(&self.subject, calls);
        let performed = self.subject.perform(step);
        let failed = injection.disarm(&self.subject, performed);
        let Some(answer) = performed else {
            return Outcome::Nothing;
        };
        // What was made to fail may have been memory that a region had to be lost for (S14).
        let lost = self.note_lost(if failed { 0 } else { available });
        // Any other refusal has to be what the step is refused for in any case.
        if failed && answer == Err(injection.error()) && !lost {
            return Outcome::Failed;
        }
        let used = self.one_shot(step);
        self.judge(step, answer, available);
        if let (Some(handle), Ok(_)) = (used, answer) {
            self.spec.use_up(handle);
        }
        self.spec.collect();
        let regions = &self.spec.regions;
        self.pinned
            .retain(|region, _| !regions[*region].pins.is_empty());
        for (region, real) in self.spec.regions.iter().zip(&mut self.regions) {
            if region.gone {
                *real = None;
            }
        }
        Outcome::Answered(answer)
    }

    /// The handle that a step uses, in the sense of a capability for one use.
    fn one_shot(&self, step: Step) -> Option<usize> {
        match step {
            Step::Map {
                process, handle, ..
            }
            | Step::Commit {
                process, handle, ..
            }
            | Step::Decommit {
                process, handle, ..
            }
            | Step::Read {
                process, handle, ..
            }
            | Step::Write {
                process, handle, ..
            }
            | Step::Pin { process, handle }
            | Step::Unpin { process, handle }
            | Step::Seal { process, handle }
            | Step::Destroy { process, handle }
            | Step::Revoke { process, handle }
            | Step::RevokeAll { process, handle } => Some(self.handles[process][handle]),
            _ => None,
        }
    }

    /// Regions that had overcommitted may have lost their memory, if there was no other.
    /// Whether one has just now.
    fn note_lost(&mut self, available: u64) -> bool {
        let mut lost = false;
        for number in 0..self.regions.len() {
            let real = self.regions[number].as_ref();
            let region = &self.spec.regions[number];
            if real.is_some_and(|real| real.is_lost()) && !region.lost {
                // No step needs more than a copy of the largest region.
                let most = self.spec.regions.iter().map(Region::worst).max();
                assert!(
                    Some(available) <= most,
                    "region {number} was lost for nothing"
                );
                self.spec.lose(number);
                lost = true;
            }
        }
        lost
    }

    /// Both have a new handle, or the same reason why not.
    pub(crate) fn bind_handle(
        &mut self,
        process: usize,
        register: usize,
        answer: Answer,
        expected: Result<usize, Error>,
    ) {
        same(answer, expected.map(drop));
        if let (Ok(Value::Handle(real)), Ok(number)) = (answer, expected) {
            self.subject.handles[process][register] = Some(real);
            self.handles[process][register] = number;
            let domain = &self.subject.domains[process];
            let region = self.subject.ipc.region_of(domain, real, Rights::empty());
            self.subject.settle(false);
            let capability = self.spec.handles[number].capability;
            self.bind_region(capability, region.expect("it was just given"));
        }
    }

    /// This is the real region behind a capability: the one that is known, if one is.
    pub(crate) fn bind_region(&mut self, capability: usize, region: Arc<mm::Region>) {
        let number = self.spec.capabilities[capability].of.region;
        self.regions.resize(self.spec.regions.len(), None);
        let known = self.regions[number].get_or_insert(region.clone());
        assert!(Arc::ptr_eq(known, &region), "it stands for another region");
    }

    /// Ends every process and checks that nothing is left.
    pub fn finish(mut self) {
        for process in 0..PROCESSES {
            self.step(Step::Exit { process });
            self.check(true);
        }
        assert_eq!(self.subject.ipc.object_count(), 0, "objects");
        let counts = fake::counts(self.subject.memory());
        let frames = self.spec.frames;
        assert_eq!((counts.free, counts.available), (frames, frames));
        assert!(self.spec.regions.iter().all(|region| region.gone));
        self.subject.domains.clear();
        let charged = self.subject.memory().account().used();
        assert_eq!(charged, abi::Resources::NONE, "charged to nobody");
    }
}
