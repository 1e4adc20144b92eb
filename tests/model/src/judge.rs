//! Whether answers are right, and what follows from them for the model.

use abi::{Error, Rights, SnapshotFlags};

use crate::spec::{Copied, Given, Narrowed, Wanted};
use crate::subject::{Answer, Value};
use crate::{PROCESSES, Run, Step};

impl Run {
    /// Compares an answer with the model's, and lets the model go on.
    pub(crate) fn judge(&mut self, step: Step, answer: Answer, available: u64) {
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
            Step::Narrow { .. } | Step::Reduce { .. } | Step::Pass { .. } => {
                self.judge_narrowing(step, answer);
            }
            Step::Revoke { process, handle } | Step::RevokeAll { process, handle } => {
                let itself = matches!(step, Step::RevokeAll { .. });
                let expected = self.spec.revoke(self.handles[process][handle], itself);
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
                until,
            } => {
                let wanted = Given {
                    to: self.known[process][to],
                    mode,
                    rights,
                    flags,
                    until: until.0,
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

    /// What makes capabilities narrower.
    fn judge_narrowing(&mut self, step: Step, answer: Answer) {
        match step {
            Step::Narrow {
                process,
                from,
                handle,
                rights,
                offset,
                len,
                nodes,
                badge,
                until,
                once,
            } => {
                let wanted = Narrowed {
                    rights,
                    nodes,
                    badge,
                    until: until.0,
                    once,
                };
                let handle_of = self.handles[process][from];
                let expected = self.spec.narrow(handle_of, (offset, len), wanted);
                self.bind_handle(process, handle, answer, expected);
            }
            Step::Reduce {
                process,
                handle,
                rights,
            } => {
                let expected = self.spec.reduce(self.handles[process][handle], rights);
                same(answer, expected);
            }
            Step::Pass { time } => {
                same(answer, Ok(()));
                self.spec.pass(time);
            }
            _ => {}
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
}

/// The answer is the only right one.
pub(crate) fn same(answer: Answer, expected: Result<(), Error>) {
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
