//! One program on both: the crates and the model.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use abi::{CapInfo, DeriveFlags, Error, Handle, Resources, Rights, Token};
use fake::{Config, FakeMachine};
use ipc::Ipc;

use super::setting::Hub;
use super::spec::{Kind, Spec, Told};
use super::{REGISTERS, Step, TOKENS, Via};
use crate::subject::Domain;
use crate::{FRAMES, PROCESSES, Program, Tally};

/// How often all that is told of every capability is looked at.
const WHOLE_EVERY: usize = 8;

/// A handle, as the crates and as the model know it.
pub(super) type Register = Option<(Handle, usize)>;

/// What a step answered: nothing when what it names is not there.
pub(super) type Answer = Option<Result<(), Error>>;

/// The crates and the model side by side.
pub struct Run {
    pub(super) ipc: Arc<Ipc<FakeMachine>>,
    pub(super) spec: Spec,
    pub(super) domains: Vec<Arc<Domain>>,
    /// The model's number of the process in each place.
    pub(super) processes: [usize; PROCESSES],
    pub(super) ended: [bool; PROCESSES],
    /// By what the process in each place knows the others.
    pub(super) known: [[Register; PROCESSES]; PROCESSES],
    pub(super) hub: Hub,
    pub(super) handles: [[Register; REGISTERS]; PROCESSES],
    pub(super) tokens: [Option<Token>; TOKENS],
    /// The model's number of each token that there was.
    pub(super) issued: BTreeMap<u64, usize>,
    /// The last token of each place for one.
    pub(super) slots: BTreeMap<u32, (Token, usize)>,
    /// The number of each of the model's objects.
    koids: BTreeMap<usize, u64>,
}

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
        let domains: Vec<Arc<Domain>> = (0..PROCESSES)
            .map(|_| super::setting::domain(&ipc))
            .collect();
        let mut run = Run {
            hub: Hub::between(&ipc, &domains),
            ipc,
            spec,
            domains,
            processes,
            ended: [false; PROCESSES],
            known: Default::default(),
            handles: Default::default(),
            tokens: Default::default(),
            issued: BTreeMap::new(),
            slots: BTreeMap::new(),
            koids: BTreeMap::new(),
        };
        for place in 0..PROCESSES {
            for of in 0..PROCESSES {
                run.introduce(place, of);
            }
        }
        for (place, by) in [(1, 0), (2, 0), (2, 1)] {
            run.connect(by, place, place - 1, by);
        }
        run
    }

    pub(super) fn put(&mut self, place: usize, register: usize, real: Handle, number: usize) {
        self.handles[place][register] = Some((real, number));
    }

    pub(super) fn at(&self, place: usize, register: usize) -> Register {
        self.handles[place][register].filter(|_| !self.ended[place])
    }

    pub(super) fn domain(&self, place: usize) -> Option<Arc<Domain>> {
        (!self.ended[place]).then(|| self.domains[place].clone())
    }

    /// Does a step on both and compares the answers. `None` when it says nothing.
    ///
    /// # Panics
    /// When they differ.
    pub fn step(&mut self, step: Step) -> Answer {
        let answer = self.perform(step);
        if let (Some(answer), Some(call)) = (answer, step.call()) {
            let _ = fake::answered(call, answer);
        }
        // What was for one use is used up by a call that succeeded, on both.
        let succeeded = answer == Some(Ok(()));
        for domain in self.domains.iter().filter(|domain| domain.has_claims()) {
            self.ipc.settle(domain, succeeded);
        }
        self.spec.settle(succeeded);
        self.spec.collect();
        answer
    }

    /// Over what a step takes an offer.
    fn over(&self, step: Step) -> Option<&'static str> {
        let Step::Accept { process, via, .. } = step else {
            return None;
        };
        let register = match via {
            Via::Process(_) => return Some("over a process"),
            Via::Hub(_) => return Some("over a hub"),
            Via::Handle(register) => register,
        };
        let (_, number) = self.at(process, register)?;
        match self
            .spec
            .known(number)
            .ok()
            .map(|(_, object)| self.spec.objects[object].kind)?
        {
            Kind::End(..) => Some("over a channel"),
            Kind::RingEnd(..) => Some("over a ring"),
            Kind::Process(_) => Some("over a process"),
            Kind::Region | Kind::Notification => None,
        }
    }

    /// Compares what every process has, and what there is at all. `whole` looks at all that is told of each
    /// capability.
    ///
    /// # Panics
    /// When they differ, or when a capability allows more than the one above it (I4).
    pub fn check(&mut self, whole: bool) {
        for place in (0..PROCESSES).filter(|place| !self.ended[*place]) {
            let domain = self.domains[place].clone();
            for (real, number) in self.handles[place].into_iter().flatten() {
                let found = domain.look_up(real, None, Rights::empty());
                let found =
                    found.map(|capability| (capability.node.rights(), capability.object().koid()));
                self.ipc.settle(&domain, false);
                let expected = self.spec.known(number);
                assert_eq!(
                    found.map(|(rights, _)| rights),
                    expected.map(|(rights, _)| rights),
                    "{real:?} of process {place}"
                );
                if let (Ok((_, koid)), Ok((_, object))) = (found, expected) {
                    let known = *self.koids.entry(object).or_insert(koid);
                    assert_eq!(koid, known, "{real:?} stands for another object");
                }
                if whole {
                    let told = self.ipc.capability_info(&domain, real).map(told);
                    assert_eq!(told, self.spec.told(number), "{real:?} of process {place}");
                }
            }
            let handles = self.spec.handle_count(self.processes[place]) + self.hub.handles[place];
            assert_eq!(domain.handle_count(), handles, "handles of process {place}");
        }
        for (token, number) in self.slots.values() {
            let pends = self.ipc.offered_region(*token).is_some();
            let expected = self.spec.offers_memory(*number);
            assert_eq!(pends, expected, "whether an offer is there");
        }
        // What stands for a process has the number of the process.
        let is_own = |object: &usize| !matches!(self.spec.objects[*object].kind, Kind::Process(_));
        let own = self.koids.iter().filter(|(object, _)| is_own(object));
        let own: Vec<u64> = own.map(|(_, koid)| *koid).collect();
        let different: BTreeSet<u64> = own.iter().copied().collect();
        assert_eq!(different.len(), own.len(), "two objects are one");
        let objects = self.spec.object_count() + self.hub.objects;
        assert_eq!(self.ipc.object_count(), objects, "objects");
        assert!(self.spec.only_shrinks(), "what is below allows more");
    }

    /// Ends every process and checks that nothing is left.
    pub fn finish(mut self) {
        for process in 0..PROCESSES {
            self.step(Step::Exit { process });
            self.check(true);
        }
        assert_eq!(self.ipc.object_count(), 0, "objects");
        self.domains.clear();
        let charged = self.ipc.memory().account().used();
        assert_eq!(charged, Resources::NONE, "charged to nobody");
        let counts = fake::counts(self.ipc.memory());
        assert_eq!((counts.free, counts.available), (FRAMES, FRAMES));
    }
}

fn told(info: CapInfo) -> Told {
    Told {
        rights: Rights::from_bits_retain(info.rights),
        badge: info.badge,
        until: info.deadline,
        once: info.flags & DeriveFlags::ONE_SHOT.bits() != 0,
        descendants: info.descendants,
        nodes_left: info.nodes_left,
    }
}

/// Runs a program on both, comparing everything after each step.
///
/// # Panics
/// When they differ.
pub fn execute(program: &Program<Step>, seed: u64, tally: &mut Tally) {
    let mut run = Run::new(seed);
    for (number, step) in program.0.iter().enumerate() {
        let over = run.over(*step);
        let outcome = match run.step(*step) {
            Some(Ok(())) => "Ok",
            Some(Err(error)) => error.name(),
            None => "nothing",
        };
        *tally.entry((step.name(), outcome)).or_default() += 1;
        if let Some(over) = over {
            *tally.entry((over, outcome)).or_default() += 1;
        }
        run.check(number % WHOLE_EVERY == 0);
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
