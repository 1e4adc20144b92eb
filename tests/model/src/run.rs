//! One program on both: the crates and the model.

use std::collections::BTreeMap;
use std::sync::Arc;

use abi::{Error, Rights, SnapshotFlags};
use mm::Frame;

use crate::spec::{Copied, Given, Region, Spec, Wanted};
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
    /// The frames of each region that is pinned.
    pub pinned: BTreeMap<usize, Vec<Frame>>,
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
    /// When the answers differ, or when it fails with another error than what failed asks for.
    pub fn attempt(&mut self, step: Step, injection: &impl Injection, calls: u64) -> Outcome {
        let available = self.subject.machine().pool().available();
        injection.arm(&self.subject, calls);
        let performed = self.subject.perform(step);
        let failed = injection.disarm(&self.subject);
        let Some(answer) = performed else {
            return Outcome::Nothing;
        };
        // What was made to fail may have been memory that a region had to be lost for (S14).
        let lost = self.note_lost(if failed { 0 } else { available });
        if failed && answer.is_err() && !lost {
            assert_eq!(answer, Err(injection.error()), "after {calls} calls");
            return Outcome::Failed;
        }
        self.judge(step, answer, available);
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

    /// Compares an answer with the model's, and lets the model go on.
    fn judge(&mut self, step: Step, answer: Answer, available: u64) {
        match step {
            Step::Create {
                process,
                handle,
                pages,
                flags,
            } => {
                let number = self.processes[process];
                let made = answer.is_ok();
                let expected = self.spec.create(number, pages, flags, available, made);
                self.bind_handle(process, handle, answer, expected);
            }
            Step::Snapshot {
                process,
                from,
                handle,
                offset,
                len,
                flags,
            } => {
                let wanted = Copied {
                    offset,
                    len,
                    overcommit: flags.contains(SnapshotFlags::OVERCOMMIT),
                };
                let from = self.handles[process][from];
                let expected = self.spec.snapshot(from, wanted, available);
                self.bind_handle(process, handle, answer, expected);
            }
            Step::Commit { .. } | Step::Decommit { .. } | Step::Pin { .. } | Step::Unpin { .. } => {
                self.judge_upkeep(step, answer)
            }
            Step::Derive {
                process,
                from,
                handle,
                rights,
            } => {
                let expected = self.spec.derive(self.handles[process][from], rights);
                self.bind_handle(process, handle, answer, expected);
            }
            Step::Drop { process, handle } => {
                let expected = self.spec.drop_handle(self.handles[process][handle]);
                same(answer, expected);
            }
            Step::Revoke { process, handle } => {
                let expected = self.spec.revoke(self.handles[process][handle]);
                assert_eq!(answer, expected.map(Value::Word));
            }
            Step::Destroy { process, handle } => {
                let expected = self.spec.destroy(self.handles[process][handle]);
                same(answer, expected);
            }
            Step::Seal { process, handle } => {
                let expected = self.spec.seal(self.handles[process][handle]);
                same(answer, expected);
            }
            Step::Map { .. } => self.judge_map(step, answer, available),
            Step::Unmap { process, mapping } => {
                if let Some(va) = self.subject.address(process, mapping) {
                    one_of(answer, &self.spec.unmap(self.processes[process], va));
                }
            }
            Step::Protect {
                process,
                mapping,
                access,
            } => {
                if let Some(va) = self.subject.address(process, mapping) {
                    one_of(
                        answer,
                        &self.spec.protect(self.processes[process], va, access),
                    );
                }
            }
            Step::Enter { .. } | Step::Idle { .. } => same(answer, Ok(())),
            Step::Load { .. } | Step::Store { .. } | Step::Fetch { .. } => {
                self.judge_access(step, answer);
            }
            Step::Read {
                process,
                handle,
                page,
                word,
            } => {
                let handle = self.handles[process][handle];
                let expected = self.spec.kernel_reach(handle, page, Rights::READ);
                let expected =
                    expected.map(|(region, page)| self.spec.regions[region].page(page)[word]);
                assert_eq!(answer, expected.map(Value::Word));
            }
            Step::Write {
                process,
                handle,
                page,
                word,
                value,
            } => {
                let handle = self.handles[process][handle];
                let expected = self.spec.kernel_reach(handle, page, Rights::WRITE);
                same(answer, expected.map(drop));
                if let Ok((region, page)) = expected {
                    self.spec.write(region, page, word, value);
                }
            }
            Step::Grant {
                process,
                handle,
                to,
                token,
                mode,
                rights,
                flags,
            } => {
                let wanted = Given {
                    to: self.known[process][to],
                    mode,
                    rights,
                    flags,
                };
                let handle = self.handles[process][handle];
                let expected = self.spec.grant(handle, wanted, available);
                same(answer, expected.map(drop));
                if let (Ok(Value::Token(real)), Ok(number)) = (answer, expected) {
                    self.subject.tokens[token] = Some(real);
                    self.tokens[token] = number;
                    let region = self.subject.ipc.offered_region(real);
                    let capability = self.spec.tokens[number].capability;
                    self.bind_region(capability, region.expect("the offer is pending"));
                }
            }
            Step::Accept {
                process,
                token,
                from,
                handle,
            } => {
                let (by, grantor) = (self.processes[process], self.known[process][from]);
                let expected = self.spec.accept(self.tokens[token], by, grantor);
                self.bind_handle(process, handle, answer, expected);
            }
            Step::Cancel { process, token } => {
                let expected = self
                    .spec
                    .cancel(self.tokens[token], self.processes[process]);
                same(answer, expected);
            }
            Step::Exit { process } => self.spec.exit(self.processes[process]),
            Step::Start { process } => {
                let expected = match available {
                    0 => Err(Error::NoMemory),
                    _ => Ok(()),
                };
                same(answer, expected);
                if expected.is_ok() {
                    let number = self.spec.start();
                    self.processes[process] = number;
                    self.known[process] = self.processes;
                    self.subject.introduce_all(process);
                    for other in 0..PROCESSES {
                        if !self.subject.ended[other] {
                            self.known[other][process] = number;
                        }
                    }
                }
            }
        }
    }

    /// What is done to the pages of a region as such.
    fn judge_upkeep(&mut self, step: Step, answer: Answer) {
        match step {
            Step::Commit {
                process,
                handle,
                page,
                pages,
            } => {
                let handle = self.handles[process][handle];
                let expected = self.spec.commit(handle, page, pages);
                same(answer, expected.clone().map(drop));
                if let Ok(pages) = expected {
                    self.check_committed(handle, pages);
                }
            }
            Step::Decommit {
                process,
                handle,
                page,
                pages,
            } => {
                let handle = self.handles[process][handle];
                same(answer, self.spec.decommit(handle, page, pages));
            }
            Step::Pin { process, handle } => {
                let handle = self.handles[process][handle];
                let expected = self.spec.pin(handle);
                same(answer, expected);
                if expected.is_ok() {
                    self.note_pinned(handle);
                }
            }
            Step::Unpin { process, handle } => {
                let handle = self.handles[process][handle];
                same(answer, self.spec.unpin(handle));
            }
            _ => {}
        }
    }

    fn judge_map(&mut self, step: Step, answer: Answer, available: u64) {
        let Step::Map {
            process,
            handle,
            mapping,
            place,
            guard,
            offset,
            len,
            access,
        } = step
        else {
            return;
        };
        let (number, handle) = (self.processes[process], self.handles[process][handle]);
        let wanted = Wanted {
            place,
            guard,
            offset,
            len,
            access,
        };
        match (self.spec.check_map(number, handle, wanted), answer) {
            (Ok(_), Ok(Value::Address(va))) => {
                self.spec.map(number, handle, wanted, va);
                self.subject.mappings[process][mapping] = Some(va);
            }
            // At most two tables for each end of it; those made before the last stay.
            (Ok(_) | Err(Error::Sealed | Error::Busy), Err(Error::NoMemory)) => {
                assert!(available < 4, "there was memory");
            }
            (expected, answer) => same(answer, expected.map(drop)),
        }
    }

    fn judge_access(&mut self, step: Step, answer: Answer) {
        let (cpu, mapping, page, word, access) = match step {
            Step::Load {
                cpu,
                mapping,
                page,
                word,
            } => (cpu, mapping, page, word, Rights::READ),
            Step::Store {
                cpu,
                mapping,
                page,
                word,
                ..
            } => (cpu, mapping, page, word, Rights::WRITE),
            Step::Fetch { cpu, mapping, page } => (cpu, mapping, page, 0, Rights::EXECUTE),
            _ => return,
        };
        let (Some(place), Some(va)) = (
            self.subject.running[cpu],
            self.subject.target(cpu, mapping, page, word),
        ) else {
            return;
        };
        match (self.spec.reach(self.processes[place], va, access), step) {
            (Ok((region, page)), Step::Load { .. }) => {
                let value = self.spec.regions[region].page(page)[word];
                assert_eq!(answer, Ok(Value::Word(value)));
            }
            (Ok((region, page)), Step::Store { value, .. }) => {
                assert_eq!(answer, Ok(Value::Done));
                self.spec.write(region, page, word, value);
            }
            (Ok(_), _) => assert_eq!(answer, Ok(Value::Done)),
            (Err(errors), _) => match answer {
                Err(error) => assert!(errors.contains(&error), "{error:?}, not {errors:?}"),
                Ok(value) => panic!("{value:?}, not {errors:?}"),
            },
        }
    }

    /// Both have a new handle, or the same reason why not.
    fn bind_handle(
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
            let capability = self.spec.handles[number].capability;
            self.bind_region(capability, region.expect("it was just given"));
        }
    }

    /// This is the real region behind a capability: the one that is known, if one is.
    fn bind_region(&mut self, capability: usize, region: Arc<mm::Region>) {
        let number = self.spec.capabilities[capability].region;
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
    }
}

/// The answer is the only right one.
fn same(answer: Answer, expected: Result<(), Error>) {
    assert_eq!(answer.map(|_| ()), expected);
}

/// The answer is one of several that are right.
fn one_of(answer: Answer, expected: &[Result<(), Error>]) {
    let answer = answer.map(|_| ());
    assert!(
        expected.contains(&answer),
        "{answer:?}, not one of {expected:?}"
    );
}
