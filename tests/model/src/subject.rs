//! The real thing: what steps do to the crates under test.

mod call;

use std::sync::Arc;

use abi::limits::PAGE_SIZE;
use abi::{Error, Handle, Resources, Token};
use fake::{Config, FakeMachine, Memory};
use ipc::Ipc;
use mm::Account;

use crate::spec::WORDS;
use crate::{BASE, CPUS, PROCESSES, REGISTERS, Step, TOKENS};

/// A process, as the crates know it.
pub type Domain = ipc::Domain<FakeMachine>;

/// What a step that succeeded gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing but success.
    Done,
    /// A handle.
    Handle(Handle),
    /// An address.
    Address(u64),
    /// A token.
    Token(Token),
    /// What was read, or counted.
    Word(u64),
}

/// What a step was answered.
pub type Answer = Result<Value, Error>;

/// What the account of each process covers.
pub(crate) const QUOTA: Resources = Resources {
    frames: 1 << 40,
    tables: 1 << 40,
    bytes: 1 << 40,
};

/// A machine with processes on it, and the registers that steps name.
pub struct Subject {
    /// The IPC.
    pub ipc: Arc<Ipc<FakeMachine>>,
    /// The process in each place.
    pub domains: Vec<Arc<Domain>>,
    /// Whether it has ended.
    pub ended: Vec<bool>,
    /// `via[a][b]`: what stands for process b among the handles of process a.
    pub via: Vec<Vec<Handle>>,
    /// The place whose process each CPU runs.
    pub running: [Option<usize>; CPUS],
    /// Handles, by place and register.
    pub handles: [[Option<Handle>; REGISTERS]; PROCESSES],
    /// Addresses of mappings, by place and register.
    pub mappings: [[Option<u64>; REGISTERS]; PROCESSES],
    /// Tokens, by register.
    pub tokens: [Option<Token>; TOKENS],
}

impl Subject {
    /// A machine on which each process runs on the CPU of its number.
    pub fn new(seed: u64, frames: u64) -> Subject {
        let ipc = fake::start_ipc(Config {
            frames,
            cpus: CPUS,
            seed,
            ..Config::default()
        });
        let mut subject = Subject {
            ipc,
            domains: Vec::new(),
            ended: vec![false; PROCESSES],
            via: Vec::new(),
            running: [None; CPUS],
            handles: Default::default(),
            mappings: Default::default(),
            tokens: Default::default(),
        };
        for _ in 0..PROCESSES {
            let domain = subject.create_domain().expect("it is a new machine");
            subject.domains.push(domain);
        }
        for place in 0..PROCESSES {
            let via = (0..PROCESSES)
                .map(|of| subject.introduce(place, of))
                .collect();
            subject.via.push(via);
            subject.run_on(place, Some(place));
        }
        subject
    }

    /// A domain with an account of its own, whose limits no program meets.
    pub(crate) fn create_domain(&self) -> Result<Arc<Domain>, Error> {
        let account = Account::below(self.memory().account(), QUOTA)?;
        self.ipc.create_domain(&account, BASE)
    }

    /// Its memory.
    pub fn memory(&self) -> &Memory {
        self.ipc.memory()
    }

    /// The machine below.
    pub fn machine(&self) -> &FakeMachine {
        self.ipc.platform()
    }

    /// The handle in a register of a process that runs.
    pub fn handle(&self, place: usize, register: usize) -> Option<Handle> {
        self.handles[place][register].filter(|_| !self.ended[place])
    }

    /// The address in a register of a process that runs.
    pub fn address(&self, place: usize, register: usize) -> Option<u64> {
        self.mappings[place][register].filter(|_| !self.ended[place])
    }

    /// The address that an access of a CPU is about.
    pub fn target(&self, cpu: usize, mapping: usize, page: u64, word: usize) -> Option<u64> {
        let va = self.address(self.running[cpu]?, mapping)?;
        Some(va + page * PAGE_SIZE + WORDS[word] as u64 * 8)
    }

    /// Does what a step says, and ends the call as a kernel does. `None` when it says nothing here: a
    /// register is empty, a process has ended, a CPU runs nothing.
    pub fn perform(&mut self, step: Step) -> Option<Answer> {
        let answer = self.call(step);
        if let (Some(answer), Some(call)) = (answer, step.call()) {
            let _ = fake::answered(call, answer);
        }
        self.settle(answer.is_some_and(|answer| answer.is_ok()));
        answer
    }

    /// Capabilities for one use are used up by a call that succeeded.
    pub(crate) fn settle(&self, succeeded: bool) {
        for domain in self.domains.iter().filter(|domain| domain.has_claims()) {
            self.ipc.settle(domain, succeeded);
        }
    }
}
