//! Random steps, changed so that most of them mean something.
//!
//! A step that names an empty register says nothing, and most registers are empty at random. So a
//! program is walked through once, on the assumption that every step succeeds, and registers are
//! exchanged for ones that are likely to hold something. It is a plain function of the steps, so
//! what it makes of a shorter program is a shorter program.

use abi::{RegionFlags, Rights};

use crate::{CPUS, PROCESSES, Place, Program, REGISTERS, Step, TOKENS};

/// What is likely to be where.
#[derive(Default)]
struct Likely {
    handles: [[bool; REGISTERS]; PROCESSES],
    /// Those that were pinned, and those that may be mapped for execution.
    pinned: [[bool; REGISTERS]; PROCESSES],
    executable: [[bool; REGISTERS]; PROCESSES],
    mappings: [[bool; REGISTERS]; PROCESSES],
    /// Those that were mapped for execution.
    executes: [[bool; REGISTERS]; PROCESSES],
    tokens: [Option<(usize, usize)>; TOKENS],
    running: [Option<usize>; CPUS],
    ended: [bool; PROCESSES],
}

/// The full register nearest to the one that was named.
fn nearest(full: &[bool], register: usize) -> Option<usize> {
    (0..full.len())
        .map(|step| (register + step) % full.len())
        .find(|at| full[*at])
}

impl Likely {
    /// A process near the one that was named that has something, and where.
    fn holder(
        &self,
        full: &[[bool; REGISTERS]; PROCESSES],
        process: usize,
        register: usize,
    ) -> Option<(usize, usize)> {
        (0..PROCESSES)
            .map(|step| (process + step) % PROCESSES)
            .filter(|process| !self.ended[*process])
            .find_map(|process| Some((process, nearest(&full[process], register)?)))
    }

    fn with_handle(&self, process: &mut usize, register: &mut usize) -> Option<()> {
        (*process, *register) = self.holder(&self.handles, *process, *register)?;
        Some(())
    }

    fn with_mapping(&self, process: &mut usize, register: &mut usize) -> Option<()> {
        (*process, *register) = self.holder(&self.mappings, *process, *register)?;
        Some(())
    }

    /// A CPU near the one that was named whose process has something mapped.
    fn with_cpu(
        &self,
        full: &[[bool; REGISTERS]; PROCESSES],
        cpu: &mut usize,
        register: &mut usize,
    ) -> Option<()> {
        let found = (0..CPUS)
            .map(|step| (*cpu + step) % CPUS)
            .find_map(|cpu| Some((cpu, nearest(&full[self.running[cpu]?], *register)?)));
        (*cpu, *register) = found?;
        Some(())
    }

    /// The step with other registers, or `None` when none fit.
    fn fit(&self, mut step: Step) -> Option<Step> {
        let open = || self.tokens.map(|token| token.is_some());
        match &mut step {
            Step::Derive { process, from, .. }
            | Step::Narrow { process, from, .. }
            | Step::Snapshot { process, from, .. } => {
                self.with_handle(process, from)?;
            }
            Step::Map {
                process,
                handle,
                access,
                ..
            } => {
                let execute = access.contains(Rights::EXECUTE);
                match self.holder(&self.executable, *process, *handle) {
                    Some(found) if execute => (*process, *handle) = found,
                    _ => self.with_handle(process, handle)?,
                }
            }
            Step::Unpin { process, handle } => {
                (*process, *handle) = self.holder(&self.pinned, *process, *handle)?;
            }
            Step::Unmap { process, mapping } => self.with_mapping(process, mapping)?,
            Step::Protect {
                process, mapping, ..
            } => self.with_mapping(process, mapping)?,
            Step::Fetch { cpu, mapping, .. } => {
                let executes = self.with_cpu(&self.executes, cpu, mapping);
                executes.or_else(|| self.with_cpu(&self.mappings, cpu, mapping))?;
            }
            Step::Load { cpu, mapping, .. } | Step::Store { cpu, mapping, .. } => {
                self.with_cpu(&self.mappings, cpu, mapping)?;
            }
            Step::Accept {
                process,
                token,
                from,
                handle,
            } => {
                *token = nearest(&open(), *token)?;
                // Now and then a false one tries.
                if let Some((grantor, addressee)) = self.tokens[*token]
                    && *handle < REGISTERS - 1
                {
                    (*process, *from) = (addressee, grantor);
                }
            }
            Step::Cancel { process, token } => {
                *token = nearest(&open(), *token)?;
                if let Some((grantor, _)) = self.tokens[*token]
                    && *process != 0
                {
                    *process = grantor;
                }
            }
            Step::Create { process, .. } | Step::Enter { process, .. } => {
                *process = nearest(&self.ended.map(|ended| !ended), *process)?;
            }
            Step::Start { process } => *process = nearest(&self.ended, *process)?,
            Step::Idle { .. } | Step::Exit { .. } | Step::Pass { .. } => {}
            Step::Drop { process, handle }
            | Step::Revoke { process, handle }
            | Step::RevokeAll { process, handle }
            | Step::Reduce {
                process, handle, ..
            }
            | Step::Destroy { process, handle }
            | Step::Seal { process, handle }
            | Step::Pin { process, handle } => self.with_handle(process, handle)?,
            Step::Commit {
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
            | Step::Grant {
                process, handle, ..
            } => self.with_handle(process, handle)?,
        }
        Some(step)
    }

    /// A register has a handle; whether for what may be executed.
    fn note_handle(&mut self, process: usize, handle: usize, executable: bool) {
        self.handles[process][handle] = true;
        self.executable[process][handle] = executable;
        self.pinned[process][handle] = false;
    }

    /// What is likely after a step.
    fn note(&mut self, step: Step) {
        match step {
            Step::Create {
                process,
                handle,
                flags,
                ..
            } => self.note_handle(process, handle, flags.contains(RegionFlags::EXECUTE)),
            Step::Derive {
                process,
                from,
                handle,
                ..
            }
            | Step::Narrow {
                process,
                from,
                handle,
                ..
            }
            | Step::Snapshot {
                process,
                from,
                handle,
                ..
            } => self.note_handle(process, handle, self.executable[process][from]),
            Step::Accept {
                process,
                handle,
                token,
                ..
            } => {
                self.note_handle(process, handle, false);
                self.tokens[token] = None;
            }
            Step::Drop { process, handle } | Step::Destroy { process, handle } => {
                self.handles[process][handle] = false;
                self.executable[process][handle] = false;
                self.pinned[process][handle] = false;
            }
            Step::Pin { process, handle } => self.pinned[process][handle] = true,
            Step::Unpin { process, handle } => self.pinned[process][handle] = false,
            Step::Map {
                process,
                mapping,
                access,
                ..
            } => {
                self.mappings[process][mapping] = true;
                self.executes[process][mapping] = access.contains(Rights::EXECUTE);
            }
            Step::Unmap { process, mapping } => {
                self.mappings[process][mapping] = false;
                self.executes[process][mapping] = false;
            }
            Step::Grant {
                process, token, to, ..
            } => self.tokens[token] = Some((process, to)),
            Step::Cancel { token, .. } => self.tokens[token] = None,
            Step::Enter { cpu, process } => self.running[cpu] = Some(process),
            Step::Idle { cpu } => self.running[cpu] = None,
            Step::Exit { process } => {
                self.ended[process] = true;
                for full in [
                    &mut self.handles,
                    &mut self.pinned,
                    &mut self.executable,
                    &mut self.mappings,
                    &mut self.executes,
                ] {
                    full[process] = [false; REGISTERS];
                }
                for cpu in self.running.iter_mut() {
                    *cpu = cpu.filter(|running| *running != process);
                }
            }
            Step::Start { process } => self.ended[process] = false,
            _ => {}
        }
    }
}

const MAP: Step = Step::Map {
    process: 0,
    handle: 0,
    mapping: 0,
    place: Place::Anywhere,
    guard: false,
    offset: 0,
    len: 0,
    access: Rights::READ.union(Rights::WRITE),
};

const CREATE: Step = Step::Create {
    process: 0,
    handle: 0,
    pages: 3,
    flags: RegionFlags::empty(),
};

/// A program of these steps or of ones like them.
pub(crate) fn repair(steps: impl IntoIterator<Item = Step>) -> Program {
    let mut likely = Likely {
        running: std::array::from_fn(|cpu| (cpu < PROCESSES).then_some(cpu)),
        ..Likely::default()
    };
    let mut program = Program::default();
    for step in steps {
        // Where nothing is to work on, something is mapped or made.
        let fitting = likely
            .fit(step)
            .or_else(|| likely.fit(MAP))
            .or_else(|| likely.fit(CREATE));
        if let Some(step) = fitting {
            likely.note(step);
            program.0.push(step);
        }
    }
    program
}
