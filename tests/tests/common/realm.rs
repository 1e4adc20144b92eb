//! What the tests of `ipc` have in common: domains that hold process handles of one another.

use std::sync::{Arc, Mutex};

use abi::{
    CapInfo, DeriveArgs, Error, FOREVER, GrantFlags, Handle, MapFlags, Mode, RegionFlags,
    Resources, RevokeFlags, Rights, Syscall, Token,
};
use fake::{Access, Config, Counts, FakeMachine, FakeProcess, Memory, answered};
use ipc::{Ipc, Narrowing, Payload, Platform};
use mm::{Account, Region};

use super::BASE;

pub type Domain = ipc::Domain<FakeMachine>;

/// Some domains; domain *i* is loaded on CPU *i* as far as there is one.
pub struct Realm {
    pub ipc: Arc<Ipc<FakeMachine>>,
    pub domains: Vec<Arc<Domain>>,
    pub processes: Vec<FakeProcess>,
    /// `via[a][b]`: a handle of domain a that stands for the process of domain b.
    pub via: Vec<Vec<Handle>>,
    exited: Mutex<Vec<bool>>,
}

impl Realm {
    pub fn new(domains: usize) -> Realm {
        Realm::of(domains, Config::default())
    }

    pub fn of(count: usize, config: Config) -> Realm {
        Realm::below(fake::start_ipc(config), &vec![Resources::NONE; count])
    }

    /// Domains with quotas.
    pub fn with_quotas(quotas: &[Resources]) -> Realm {
        Realm::below(fake::start_ipc(Config::default()), quotas)
    }

    /// The same on a machine that is there.
    pub fn below(ipc: Arc<Ipc<FakeMachine>>, quotas: &[Resources]) -> Realm {
        let config = *ipc.platform().config();
        let count = quotas.len();
        let domains: Vec<_> = quotas
            .iter()
            .map(|quota| {
                let account = Account::below(ipc.memory().account(), *quota).unwrap();
                ipc.create_domain(&account, BASE).unwrap()
            })
            .collect();
        for (cpu, domain) in domains.iter().enumerate().take(config.cpus) {
            fake::enter(ipc.memory(), cpu, Some(domain.space()));
        }
        let processes: Vec<_> = domains
            .iter()
            .map(|domain| FakeProcess::of(domain.koid()))
            .collect();
        let handle = |holder: &Arc<Domain>, of: &FakeProcess| {
            ipc.install_object(holder, Payload::Process(of.clone()), Rights::PROCESS)
                .unwrap()
        };
        let via = domains
            .iter()
            .map(|a| processes.iter().map(|b| handle(a, b)).collect())
            .collect();
        Realm {
            ipc,
            domains,
            processes,
            via,
            exited: Mutex::new(vec![false; count]),
        }
    }

    /// A second CPU, 3, that also runs a domain.
    pub fn run_also_on_3(&self, domain: usize) {
        fake::enter(self.memory(), 3, Some(self.domains[domain].space()));
    }

    /// A region of the first domain, of one page, and where it is mapped; CPUs 0 and 3 have that cached.
    pub fn region_cached_on_two(&self) -> (Handle, u64) {
        self.run_also_on_3(0);
        let region = self.region(0, 1);
        let va = self.map(0, region, super::WRITE);
        for cpu in [0, 3] {
            self.store(cpu, 0, va, 5).unwrap();
        }
        (region, va)
    }

    pub fn memory(&self) -> &Memory {
        self.ipc.memory()
    }

    pub fn machine(&self) -> &FakeMachine {
        self.ipc.platform()
    }

    pub fn region(&self, domain: usize, pages: u64) -> Handle {
        self.ipc
            .create_region(
                &self.domains[domain],
                pages * 4096,
                RegionFlags::empty(),
                None,
            )
            .unwrap()
    }

    pub fn region_of(&self, domain: usize, handle: Handle) -> Arc<Region> {
        self.ipc
            .region_of(&self.domains[domain], handle, Rights::empty())
            .unwrap()
    }

    pub fn try_map(&self, domain: usize, handle: Handle, access: Rights) -> Result<u64, Error> {
        let flags = MapFlags::empty();
        let answer = self
            .ipc
            .map(&self.domains[domain], handle, 0, 0, 0, access, flags);
        answered(Syscall::Map, answer)
    }

    pub fn map(&self, domain: usize, handle: Handle, access: Rights) -> u64 {
        self.try_map(domain, handle, access).unwrap()
    }

    pub fn unmap(&self, domain: usize, va: u64) -> Result<(), Error> {
        let answer = self.ipc.unmap(&self.domains[domain], va);
        answered(Syscall::Unmap, answer)
    }

    pub fn derive(&self, domain: usize, handle: Handle, rights: Rights) -> Result<Handle, Error> {
        let answer = self.ipc.derive(&self.domains[domain], handle, rights);
        answered(Syscall::CapDerive, answer)
    }

    pub fn derive_with(
        &self,
        domain: usize,
        handle: Handle,
        args: DeriveArgs,
    ) -> Result<Handle, Error> {
        let narrowing = Narrowing::decode(&args)?;
        let answer = self
            .ipc
            .derive_with(&self.domains[domain], handle, &narrowing);
        answered(Syscall::CapDeriveWith, answer)
    }

    pub fn reduce(&self, domain: usize, handle: Handle, rights: Rights) -> Result<(), Error> {
        let answer = self.ipc.reduce(&self.domains[domain], handle, rights);
        answered(Syscall::CapReduce, answer)
    }

    /// Facts about a capability.
    pub fn info(&self, domain: usize, handle: Handle) -> CapInfo {
        self.ipc
            .capability_info(&self.domains[domain], handle)
            .unwrap()
    }

    /// Revokes what is below a capability, and itself.
    pub fn revoke_itself(&self, domain: usize, handle: Handle) -> Result<u64, Error> {
        let flags = RevokeFlags::ITSELF;
        let answer = self.ipc.revoke(&self.domains[domain], handle, flags);
        answered(Syscall::CapRevoke, answer)
    }

    /// Moves the clock, and ends what was to end until then.
    pub fn wait_until(&self, now_ns: u64) {
        let clock = self.machine().now_ns();
        self.machine().advance_ns(now_ns - clock);
        self.ipc.lapse(now_ns, usize::MAX);
    }

    pub fn revoke(&self, domain: usize, handle: Handle) -> Result<u64, Error> {
        let flags = RevokeFlags::empty();
        let answer = self.ipc.revoke(&self.domains[domain], handle, flags);
        answered(Syscall::CapRevoke, answer)
    }

    pub fn drop_handle(&self, domain: usize, handle: Handle) -> Result<(), Error> {
        let answer = self.ipc.drop_capability(&self.domains[domain], handle);
        answered(Syscall::CapDrop, answer)
    }

    /// What a handle is good for at this moment.
    pub fn look_up(&self, domain: usize, handle: Handle) -> Result<Rights, Error> {
        self.domains[domain]
            .look_up(handle, None, Rights::empty())
            .map(|capability| capability.node.rights())
    }

    pub fn grant(
        &self,
        from: usize,
        handle: Handle,
        to: usize,
        mode: Mode,
        rights: Rights,
    ) -> Result<Token, Error> {
        self.grant_until(from, handle, to, mode, rights, FOREVER)
    }

    pub fn grant_until(
        &self,
        from: usize,
        handle: Handle,
        to: usize,
        mode: Mode,
        rights: Rights,
        deadline_ns: u64,
    ) -> Result<Token, Error> {
        let via = self.via[from][to];
        let flags = GrantFlags::empty();
        let from = &self.domains[from];
        let answer = self
            .ipc
            .grant(from, handle, via, mode, rights, flags, deadline_ns);
        answered(Syscall::Grant, answer)
    }

    pub fn accept(&self, by: usize, token: Token, from: usize) -> Result<Handle, Error> {
        let answer = self
            .ipc
            .accept(&self.domains[by], token, self.via[by][from]);
        answered(Syscall::Accept, answer)
    }

    pub fn cancel(&self, by: usize, token: Token) -> Result<(), Error> {
        let answer = self.ipc.cancel(&self.domains[by], token);
        answered(Syscall::Cancel, answer)
    }

    /// Grants and accepts.
    pub fn give(&self, from: usize, handle: Handle, to: usize, mode: Mode) -> Handle {
        let token = self.grant(from, handle, to, mode, Rights::all()).unwrap();
        self.accept(to, token, from).unwrap()
    }

    pub fn load(&self, cpu: usize, domain: usize, va: u64) -> Result<u64, Error> {
        let space = self.domains[domain].space();
        fake::on_cpu(cpu, || fake::load(self.memory(), space, va))
    }

    pub fn store(&self, cpu: usize, domain: usize, va: u64, value: u64) -> Result<(), Error> {
        let space = self.domains[domain].space();
        fake::on_cpu(cpu, || fake::store(self.memory(), space, va, value))
    }

    /// Whether a CPU reaches an address without a fault.
    pub fn reaches(&self, cpu: usize, va: u64) -> bool {
        self.machine().translate(cpu, va, Access::Read).is_ok()
    }

    /// Everything that is counted.
    pub fn counts(&self) -> (Counts, u64, Vec<(usize, Resources)>) {
        let held = |domain: &Arc<Domain>| (domain.handle_count(), domain.account().used());
        let objects = self.ipc.object_count();
        let domains = self.domains.iter().map(held).collect();
        (fake::counts(self.memory()), objects, domains)
    }

    /// What is charged to the account of a domain.
    pub fn used(&self, domain: usize) -> Resources {
        self.domains[domain].account().used()
    }

    /// Ends a domain as a process ends.
    pub fn exit(&self, domain: usize) {
        if std::mem::replace(&mut self.exited.lock().unwrap()[domain], true) {
            return;
        }
        let space = self.domains[domain].space();
        let has_it = |cpu: &usize| self.machine().loaded_root(*cpu) == Some(space.root());
        for cpu in (0..self.machine().config().cpus).filter(has_it) {
            fake::enter(self.memory(), cpu, None);
        }
        self.ipc.clear_domain(&self.domains[domain]);
        self.memory().destroy_space(space);
    }

    /// Checks the machine, given all regions that exist.
    pub fn audit(&self, regions: &[Arc<Region>]) {
        let exited = self.exited.lock().unwrap();
        let spaces: Vec<_> = self
            .domains
            .iter()
            .zip(exited.iter())
            .filter(|(_, exited)| !**exited)
            .map(|(domain, _)| domain.space().clone())
            .collect();
        fake::audit(self.memory(), &spaces, regions);
    }

    /// Ends everything and checks that nothing is left, and nothing charged (I11).
    pub fn finish(self) {
        for domain in 0..self.domains.len() {
            self.exit(domain);
        }
        self.ipc.end_task(&fake::FakeTask::current());
        assert_eq!(self.ipc.object_count(), 0, "objects");
        fake::audit(self.memory(), &[], &[]);
        let counts = fake::counts(self.memory());
        let total = self.machine().config().frames;
        assert_eq!((counts.free, counts.available), (total, total));
        let Realm { ipc, domains, .. } = self;
        let accounts: Vec<_> = domains.iter().map(|d| d.account().clone()).collect();
        drop(domains);
        for account in accounts.iter().chain([ipc.memory().account()]) {
            assert_eq!(account.used(), Resources::NONE, "what is still charged");
        }
    }
}
