//! TLB shootdown: making every CPU forget a translation, and knowing that it has.
//!
//! Each CPU owns one request record and one inbox; bit *i* of an inbox says that CPU *i* wants
//! something. Nothing is allocated, and an initiator serves its own inbox while it waits, so
//! CPUs that all initiate at once cannot deadlock (I12). Editing an entry yields a [`Stale`];
//! what it holds comes out only of [`Stale::wait`], after every CPU that could have cached the old
//! entry has acknowledged (I2, rule S2).
//!
//! Who has a space loaded is asked of the CPUs that ever had: each has a word, `loaded`, that tells.
//! A switch stores `SWITCHING` there, loads the root, which is a full barrier
//! ([`Mmu::load_root`](crate::Mmu::load_root)), and stores the koid (Release). Before its first visit
//! it sets its bit in the set `visited` of the space, which stays. The initiator writes entries,
//! executes `fence(SeqCst)`, reads `visited` and then the words (Acquire). Of the barrier and the
//! fence one comes first:
//!
//! - *Entering.* If it is the barrier, the initiator sees the bit, set before this barrier or an
//!   earlier one, and `SWITCHING` or what the word became after it: it asks, or the CPU has left again.
//!   If it is the fence, the CPU's walks come after it and see the new entries.
//! - *Leaving.* Whoever reads another koid there knows that the CPU has loaded another root since it
//!   used this one: it has forgotten all, and everything that it did by this root came before. If it
//!   comes back, its barrier comes after the fence, or `SWITCHING` would have been read: as above.
//!
//! No koid is used again, so a word never means two spaces.

mod stale;

use alloc::boxed::Box;
use core::sync::atomic::Ordering;

use crate::sync::{AtomicU32, AtomicU64, CPUS};
use crate::{AddressSpace, CpuId, CpuSet, Frame, Machine, Memory};

pub use self::stale::Stale;

/// Pages that a request can name one by one; more than that is [`Plan::Full`].
pub const MAX_PLAN_PAGES: usize = 32;

/// What a CPU has to do before it acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Forget the pages that begin at `va`, so many of them.
    Pages {
        /// The address of the first.
        va: u64,
        /// How many, at most 32.
        count: u32,
    },
    /// Forget everything of the user half.
    Full,
    /// Forget nothing: only be interrupted. What the CPU did before is visible to who has waited,
    /// and what the waiting one did before is visible to what the CPU does next (rule S11).
    Barrier,
}

impl Plan {
    /// The plan for `count` pages from `va` on.
    pub fn range(va: u64, count: u64) -> Plan {
        match u32::try_from(count) {
            Ok(count) if count as usize <= MAX_PLAN_PAGES => Plan::Pages { va, count },
            _ => Plan::Full,
        }
    }
}

/// The number that stands for "whatever space is loaded" in a request.
const ANY_SPACE: u64 = 0;

/// The number that stands for two spaces, of which one is loaded: every request concerns it.
const SWITCHING: u64 = u64::MAX;

const KIND_FULL: u32 = u32::MAX;
const KIND_BARRIER: u32 = u32::MAX - 1;

/// Turns of waiting after which a build with debug assertions gives up: minutes, where a shootdown
/// takes microseconds.
const PATIENCE: u64 = 1 << 30;

/// What one CPU wants of others. It is written only while nobody is pending.
#[derive(Debug)]
#[repr(align(128))]
struct Request {
    space: AtomicU64,
    va: AtomicU64,
    /// The number of pages, or one that stands for another plan.
    kind: AtomicU32,
    pending: AtomicU64,
}

/// Who wants something of one CPU, and which space it has loaded.
#[derive(Debug)]
#[repr(align(128))]
struct Inbox {
    callers: AtomicU64,
    /// The koid, [`SWITCHING`], or [`ANY_SPACE`] for the kernel's own tables.
    loaded: AtomicU64,
}

/// One record and one inbox for each CPU. On the heap: they are larger than a stack of the kernel.
#[derive(Debug)]
pub(crate) struct Shootdown {
    requests: Box<[Request; CPUS]>,
    inboxes: Box<[Inbox; CPUS]>,
    waited: AtomicU64,
}

impl Shootdown {
    pub(crate) fn new() -> Shootdown {
        let cpus = || 0..CPUS;
        let request = |_| Request {
            space: AtomicU64::new(ANY_SPACE),
            va: AtomicU64::new(0),
            kind: AtomicU32::new(0),
            pending: AtomicU64::new(0),
        };
        let inbox = |_| Inbox {
            callers: AtomicU64::new(0),
            loaded: AtomicU64::new(ANY_SPACE),
        };
        Shootdown {
            requests: array_of(cpus().map(request)),
            inboxes: array_of(cpus().map(inbox)),
            waited: AtomicU64::new(0),
        }
    }
}

/// One for each CPU, without a copy on the stack.
fn array_of<T>(each: impl Iterator<Item = T>) -> Box<[T; CPUS]> {
    let all: Box<[T]> = each.collect();
    all.try_into().ok().expect("one for each CPU")
}

impl<M: Machine> Memory<M> {
    /// Does what other CPUs ask of this one. The handler of the shootdown interrupt calls it, and
    /// every loop that waits with interrupts off has to. It takes no lock and allocates nothing.
    #[inline]
    pub fn serve(&self) {
        let me = self.machine.current();
        let inbox = &self.shootdown.inboxes[me];
        // A look that takes the line from nobody, for loops that wait.
        if inbox.callers.load(Ordering::Relaxed) == 0 {
            return;
        }
        // SYNC(shootdown.request): the request that belongs to a bit is visible with it.
        let callers = CpuSet(inbox.callers.swap(0, Ordering::Acquire));
        for caller in callers.iter() {
            let request = &self.shootdown.requests[caller];
            let acknowledge = || {
                // SYNC(shootdown.acknowledge): the flush is done before the bit is clear.
                request.pending.fetch_and(!(1 << me), Ordering::Release);
            };
            if crate::sabotaged!("acknowledge_before_flush") {
                acknowledge();
            }
            let space = request.space.load(Ordering::Relaxed);
            let loaded = inbox.loaded.load(Ordering::Relaxed);
            if space == ANY_SPACE || loaded == space || loaded == SWITCHING {
                self.execute(match request.kind.load(Ordering::Relaxed) {
                    KIND_FULL => Plan::Full,
                    KIND_BARRIER => Plan::Barrier,
                    count => Plan::Pages {
                        va: request.va.load(Ordering::Relaxed),
                        count,
                    },
                });
            }
            if !crate::sabotaged!("acknowledge_before_flush") {
                acknowledge();
            }
        }
    }

    /// Makes `to` the space that the current CPU translates by; `None` stands for the kernel's own
    /// tables, of which `kernel_root` is the top.
    ///
    /// With interrupts off.
    #[inline(always)]
    pub fn switch_space(&self, to: Option<&AddressSpace>, kernel_root: Frame) {
        let me = self.machine.current();
        let (root, koid) = match to {
            Some(space) => (space.root(), space.koid()),
            None => (kernel_root, ANY_SPACE),
        };
        let visit = || to.into_iter().for_each(|space| space.visit(me));
        if !crate::sabotaged!("root_loaded_before_visit") {
            visit();
        }
        self.load_space(me, root, koid);
        if crate::sabotaged!("root_loaded_before_visit") {
            visit();
        }
    }

    /// The same into a space that this CPU has had loaded before.
    #[inline(always)]
    pub fn resume_space(&self, to: &AddressSpace) {
        let me = self.machine.current();
        debug_assert!(to.visited().contains(me), "CPU {me} was never here");
        self.load_space(me, to.root(), to.koid());
    }

    #[inline(always)]
    fn load_space(&self, me: CpuId, root: Frame, koid: u64) {
        let loaded = &self.shootdown.inboxes[me].loaded;
        // A request may arrive on either side of the load, and the CPU may cache translations by
        // the new root right after it.
        if !crate::sabotaged!("switch_told_after_root") {
            loaded.store(SWITCHING, Ordering::Relaxed);
        }
        if crate::sabotaged!("space_told_before_root") {
            loaded.store(koid, Ordering::Relaxed);
        }
        self.machine.load_root(root);
        // SYNC(space.loaded): what was done by the old root is visible with it.
        loaded.store(koid, Ordering::Release);
    }

    /// The CPUs that have a space loaded, or may be about to, for who has executed `fence(SeqCst)` since
    /// what they have to know of. All others know of it from the next time on that they have, and what they
    /// did by it before is visible.
    #[inline]
    pub fn active(&self, space: &AddressSpace) -> CpuSet {
        let visited = space.visited();
        if crate::sabotaged!("who_has_left_is_asked") {
            return visited;
        }
        let mut active = CpuSet::EMPTY;
        for cpu in visited.iter() {
            // SYNC(space.loaded)
            let loaded = self.shootdown.inboxes[cpu].loaded.load(Ordering::Acquire);
            let is_switching =
                loaded == SWITCHING && !crate::sabotaged!("who_switches_is_not_asked");
            if loaded == space.koid() || is_switching {
                active = active.union(CpuSet::only(cpu));
            }
        }
        active
    }

    /// Whether a CPU has told that it has a space loaded.
    pub(crate) fn is_loaded(&self, space: &AddressSpace) -> bool {
        let mut inboxes = self.shootdown.inboxes.iter();
        inboxes.any(|inbox| inbox.loaded.load(Ordering::Relaxed) == space.koid())
    }

    /// Has every CPU that has a space loaded, or is about to, execute a full barrier, and returns when all
    /// have: what their programs wrote before is visible, and what this CPU wrote before is visible to
    /// what they do next. A CPU that left the space before has executed one then, and so has one that
    /// comes in later.
    ///
    /// Call it as [`Stale::wait`].
    pub fn barrier(&self, space: &AddressSpace) {
        Stale::in_space(self, (), space, Plan::Barrier).wait(self);
    }

    /// How many shootdowns had to wait for another CPU.
    pub fn shootdowns(&self) -> u64 {
        self.shootdown.waited.load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn broadcast(&self, space: u64, plan: Plan, targets: CpuSet) {
        let me = self.machine.current();
        let mut others = targets.without(me);
        if crate::sabotaged!("no_remote_shootdown") {
            others = CpuSet::EMPTY;
        }
        let forgets = targets.contains(me) && !crate::sabotaged!("no_local_flush");
        let here = forgets.then_some(plan);
        if !others.is_empty() {
            self.ask(others, space, plan, here);
        } else if let Some(plan) = here {
            self.execute(plan);
        }
    }

    /// Asks other CPUs, does what is to be done `here`, and waits for them.
    #[inline(never)]
    fn ask(&self, others: CpuSet, space: u64, plan: Plan, here: Option<Plan>) {
        let me = self.machine.current();
        let request = &self.shootdown.requests[me];
        debug_assert_eq!(
            request.pending.load(Ordering::Relaxed),
            0,
            "CPU {me} starts a shootdown in the middle of another"
        );
        let (kind, va) = match plan {
            Plan::Pages { va, count } => (count, va),
            Plan::Full => (KIND_FULL, 0),
            Plan::Barrier => (KIND_BARRIER, 0),
        };
        request.space.store(space, Ordering::Relaxed);
        request.va.store(va, Ordering::Relaxed);
        request.kind.store(kind, Ordering::Relaxed);
        request.pending.store(others.0, Ordering::Relaxed);
        for cpu in others.iter() {
            // SYNC(shootdown.request)
            self.shootdown.inboxes[cpu]
                .callers
                .fetch_or(1 << me, Ordering::Release);
        }
        self.machine.kick(others);
        self.shootdown.waited.fetch_add(1, Ordering::Relaxed);
        if let Some(plan) = here {
            self.execute(plan);
        }
        // SYNC(shootdown.acknowledge)
        let mut turns = 0_u64;
        while request.pending.load(Ordering::Acquire) != 0 {
            self.serve();
            self.machine.relax();
            turns += 1;
            debug_assert!(
                turns < PATIENCE,
                "the CPUs {:#x} do not acknowledge a shootdown",
                request.pending.load(Ordering::Relaxed)
            );
        }
    }

    #[inline]
    fn execute(&self, plan: Plan) {
        match plan {
            Plan::Pages { va, count } => {
                for page in 0..count as u64 {
                    self.machine
                        .flush_page(va.wrapping_add(page * abi::limits::PAGE_SIZE));
                }
            }
            Plan::Full => self.machine.flush_all(),
            // SYNC(shootdown.request), SYNC(shootdown.acknowledge): to take a request and to acknowledge it are locked
            // instructions, which is all that was asked for.
            Plan::Barrier => {}
        }
    }
}
