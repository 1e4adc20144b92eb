//! One program on both: the crates and the model.

use std::collections::BTreeMap;
use std::sync::Arc;

use abi::{Error, Handle, HandleTransfer, Mode, Resources, Rights};
use fake::{Config, FakeMachine};
use ipc::{Ipc, Outgoing};
use mm::Account;

use super::spec::Spec;
use super::{REGISTERS, Step};
use crate::subject::Domain;
use crate::{BASE, FRAMES, PROCESSES, Program, Tally};

/// A handle, as the crates and as the model know it.
type Register = Option<(Handle, usize)>;

/// The crates and the model side by side.
pub struct Run {
    ipc: Arc<Ipc<FakeMachine>>,
    spec: Spec,
    domains: Vec<Arc<Domain>>,
    /// The model's number of the process in each place.
    processes: [usize; PROCESSES],
    ended: [bool; PROCESSES],
    handles: [[Register; REGISTERS]; PROCESSES],
    /// The number of each of the model's objects.
    koids: BTreeMap<usize, u64>,
}

/// What a step answered: nothing when what it names is not there.
type Answer = Option<Result<(), Error>>;

impl Run {
    /// Both at their beginning: each two processes have a channel between them.
    pub fn new(seed: u64) -> Run {
        let ipc = fake::start_ipc(Config {
            frames: FRAMES,
            seed,
            ..Config::default()
        });
        let mut spec = Spec::default();
        let processes = std::array::from_fn(|_| spec.start());
        let mut run = Run {
            ipc,
            spec,
            domains: Vec::new(),
            processes,
            ended: [false; PROCESSES],
            handles: Default::default(),
            koids: BTreeMap::new(),
        };
        for _ in 0..PROCESSES {
            let domain = run.create_domain();
            run.domains.push(domain);
        }
        for (place, by) in [(1, 0), (2, 0), (2, 1)] {
            run.connect(by, place, place - 1, by);
        }
        run
    }

    fn create_domain(&self) -> Arc<Domain> {
        let root = self.ipc.memory().account();
        let account = Account::below(root, Resources::NONE).expect("it is the first below");
        let domain = self.ipc.create_domain(&account, BASE);
        domain.expect("there is memory")
    }

    /// A channel between two processes, as a parent makes one for a child.
    fn connect(&mut self, by: usize, place: usize, mine: usize, theirs: usize) {
        let ends = self.ipc.create_channel(&self.domains[by], 2);
        let ends = ends.expect("there is room");
        let numbers = self.spec.channel([self.processes[by]; 2], 2);
        self.put(by, mine, ends.first, numbers[0]);
        let all = Rights::all();
        let flags = abi::GrantFlags::empty();
        let (parent, child) = (&self.domains[by], &self.domains[place]);
        let offer = self.ipc.begin(parent, ends.second, Mode::Move, all, flags);
        let offer = offer.expect("nobody else has it");
        self.ipc.clear(&offer);
        let mut given = Handle::NONE;
        self.ipc
            .deliver_all(vec![offer], child, |handle| given = handle)
            .expect("there is room");
        let number = self.spec.give(numbers[1], self.processes[place]);
        self.put(place, theirs, given, number);
    }

    fn put(&mut self, place: usize, register: usize, real: Handle, number: usize) {
        self.handles[place][register] = Some((real, number));
    }

    fn at(&self, place: usize, register: usize) -> Register {
        self.handles[place][register].filter(|_| !self.ended[place])
    }

    /// Both have a new handle, or the same reason why not.
    fn bind(
        &mut self,
        place: usize,
        register: usize,
        real: Result<Handle, Error>,
        expected: Result<usize, Error>,
    ) -> Answer {
        assert_eq!(real.map(drop), expected.map(drop));
        if let (Ok(real), Ok(number)) = (real, expected) {
            self.put(place, register, real, number);
        }
        Some(real.map(drop))
    }

    /// Does a step on both and compares the answers. `None` when it says nothing.
    ///
    /// # Panics
    /// When they differ.
    pub fn step(&mut self, step: Step) -> Answer {
        let answer = self.perform(step);
        self.spec.collect();
        answer
    }

    fn perform(&mut self, step: Step) -> Answer {
        let ipc = self.ipc.clone();
        match step {
            Step::Region { process, handle } => {
                let domain = self.domain(process)?;
                let made = ipc.create_region(&domain, 4096, abi::RegionFlags::empty(), None);
                let number = self.spec.region(self.processes[process]);
                self.bind(process, handle, made, Ok(number))
            }
            Step::Notification { process, handle } => {
                let made = ipc.create_notification(&*self.domain(process)?);
                let number = self.spec.notification(self.processes[process]);
                self.bind(process, handle, made, Ok(number))
            }
            Step::Channel {
                process,
                first,
                second,
                capacity,
            } => {
                let made = ipc.create_channel(&*self.domain(process)?, capacity as u32);
                let made = made.expect("there is room");
                let [one, other] = self.spec.channel([self.processes[process]; 2], capacity);
                self.put(process, first, made.first, one);
                self.put(process, second, made.second, other);
                Some(Ok(()))
            }
            Step::Derive {
                process,
                from,
                handle,
                rights,
            } => {
                let (real, number) = self.at(process, from)?;
                let made = ipc.derive(&self.domains[process], real, rights);
                let expected = self.spec.derive(number, rights);
                self.bind(process, handle, made, expected)
            }
            Step::Drop { process, handle } => {
                let (real, number) = self.at(process, handle)?;
                let dropped = ipc.drop_capability(&self.domains[process], real);
                same(dropped, self.spec.drop_handle(number))
            }
            Step::Revoke { process, handle } => {
                let (real, number) = self.at(process, handle)?;
                let revoked = ipc.revoke(&self.domains[process], real, abi::RevokeFlags::empty());
                same(revoked, self.spec.revoke(number))
            }
            Step::Send { .. } => self.send(step),
            Step::Receive {
                process,
                end,
                first,
                second,
            } => self.receive(process, end, [first, second]),
            Step::Signal {
                process,
                handle,
                bits,
            } => {
                let (real, number) = self.at(process, handle)?;
                let signalled = ipc.signal(&self.domains[process], real, bits);
                same(signalled, self.spec.signal(number, bits))
            }
            Step::Poll { process, handle } => {
                let (real, number) = self.at(process, handle)?;
                let bits = ipc.wait_notification(&self.domains[process], real, 0);
                same(bits, self.spec.poll(number))
            }
            Step::Exit { process } => {
                let domain = self.domain(process)?;
                self.ended[process] = true;
                ipc.clear_domain(&domain);
                ipc.memory().destroy_space(domain.space());
                self.spec.exit(self.processes[process]);
                Some(Ok(()))
            }
            Step::Start {
                process,
                by,
                mine,
                theirs,
            } => {
                if !self.ended[process] || self.ended[by] {
                    return None;
                }
                self.domains[process] = self.create_domain();
                self.processes[process] = self.spec.start();
                self.ended[process] = false;
                self.handles[process] = Default::default();
                self.connect(by, process, mine, theirs);
                Some(Ok(()))
            }
        }
    }

    fn domain(&self, place: usize) -> Option<Arc<Domain>> {
        (!self.ended[place]).then(|| self.domains[place].clone())
    }

    fn send(&mut self, step: Step) -> Answer {
        let Step::Send {
            process,
            end,
            word,
            first,
            second,
        } = step
        else {
            return None;
        };
        let (end, end_number) = self.at(process, end)?;
        let (mut transfers, mut loads) = (Vec::new(), Vec::new());
        for (mode, register) in [first, second].into_iter().filter_map(|load| load.get()) {
            let (real, number) = self.at(process, register)?;
            transfers.push(HandleTransfer::new(real, mode, Rights::all()));
            loads.push((mode, number));
        }
        let message = Outgoing {
            bytes: &word.to_le_bytes(),
            transfers: &transfers,
        };
        let sent = self.ipc.send(&self.domains[process], end, message, 0);
        same(sent, self.spec.send(end_number, word, &loads))
    }

    fn receive(&mut self, process: usize, end: usize, registers: [usize; 2]) -> Answer {
        let (real, number) = self.at(process, end)?;
        let mut word = [0; 8];
        let received = self.ipc.receive(&self.domains[process], real, 0, |next| {
            word.copy_from_slice(next.bytes);
            Ok(())
        });
        let expected = self.spec.receive(number);
        match (received, expected) {
            (Ok(received), Ok((expected, handles))) => {
                assert_eq!(u64::from_le_bytes(word), expected, "another message");
                assert_eq!(received.handles_len, handles.len(), "capabilities");
                for (at, number) in handles.into_iter().enumerate() {
                    let real = received.handles[at];
                    assert_eq!(real != Handle::NONE, number.is_some(), "capability {at}");
                    if let Some(number) = number {
                        self.put(process, registers[at], real, number);
                    }
                }
                Some(Ok(()))
            }
            (received, expected) => same(received.map(drop), expected.map(drop)),
        }
    }

    /// Compares what every process has, and what there is at all.
    ///
    /// # Panics
    /// When they differ.
    pub fn check(&mut self) {
        for place in (0..PROCESSES).filter(|place| !self.ended[*place]) {
            let domain = &self.domains[place];
            for (real, number) in self.handles[place].iter().flatten() {
                let found = domain.look_up(*real, None, Rights::empty());
                let found =
                    found.map(|capability| (capability.node.rights(), capability.object().koid()));
                let expected = self.spec.known(*number);
                assert_eq!(
                    found.map(|(rights, _)| rights),
                    expected.map(|(rights, _)| rights),
                    "{real:?} of process {place}"
                );
                if let (Ok((_, koid)), Ok((_, object))) = (found, expected) {
                    let known = *self.koids.entry(object).or_insert(koid);
                    assert_eq!(koid, known, "{real:?} stands for another object");
                }
            }
            let handles = self.spec.handle_count(self.processes[place]);
            assert_eq!(domain.handle_count(), handles, "handles of process {place}");
        }
        let koids = self.koids.values();
        let different: std::collections::BTreeSet<_> = koids.collect();
        assert_eq!(different.len(), self.koids.len(), "two objects are one");
        assert_eq!(self.ipc.object_count(), self.spec.object_count(), "objects");
    }

    /// Ends every process and checks that nothing is left.
    pub fn finish(mut self) {
        for process in 0..PROCESSES {
            self.step(Step::Exit { process });
            self.check();
        }
        assert_eq!(self.ipc.object_count(), 0, "objects");
        self.domains.clear();
        let charged = self.ipc.memory().account().used();
        assert_eq!(charged, Resources::NONE, "charged to nobody");
        let counts = fake::counts(self.ipc.memory());
        assert_eq!((counts.free, counts.available), (FRAMES, FRAMES));
    }
}

/// The answer is the only right one.
fn same<T: PartialEq + std::fmt::Debug>(
    real: Result<T, Error>,
    expected: Result<T, Error>,
) -> Answer {
    assert_eq!(real, expected);
    Some(real.map(drop))
}

/// Runs a program on both, comparing everything after each step.
///
/// # Panics
/// When they differ.
pub fn execute(program: &Program<Step>, seed: u64, tally: &mut Tally) {
    let mut run = Run::new(seed);
    for step in &program.0 {
        let outcome = match run.step(*step) {
            Some(Ok(())) => "Ok",
            Some(Err(error)) => error.name(),
            None => "nothing",
        };
        *tally.entry((step.name(), outcome)).or_default() += 1;
        run.check();
    }
    run.finish();
}

/// Runs random programs until so many steps were run, and makes the first that fails short.
///
/// # Panics
/// When one fails.
pub fn search(seed: u64, steps: u64, length: usize, execute: impl FnMut(&Program<Step>, u64)) {
    crate::property::search_among(&super::strategy::program(length), seed, steps, execute);
}
