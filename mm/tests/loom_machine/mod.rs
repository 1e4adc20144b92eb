//! A machine for loom: CPUs that walk tables whenever they like and keep what they found until
//! they are told to forget it.

use std::cell::RefCell;
use std::sync::Arc;

use loom::sync::Notify;
use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use mm::{AddressSpace, Budget, CpuId, CpuSet, Cpus, Entry, Frame, FrameMeta, Frames, Mmu, Plan};

pub type Memory = mm::Memory<Machine>;

/// Pages of a space.
pub const PAGES: usize = 2;
const BASE: u64 = 0x4000_0000;

/// One page of a space: the entry that leads to its frame, and what became of the frame.
struct Page {
    present: AtomicU64,
    freed: AtomicBool,
}

/// Page tables of two spaces, and the CPUs.
pub struct Machine {
    spaces: [[Page; PAGES]; 2],
    /// CPUs that were interrupted and have not noticed: what comes before the interrupt is visible
    /// to its handler.
    interrupted: AtomicU64,
    /// Wakes each CPU that waits: loom needs to know that it waits, and for whom.
    changes: [Notify; 3],
    /// Those that have nothing more to ask.
    finished: AtomicUsize,
}

/// What a CPU has to itself.
#[derive(Default)]
struct Cpu {
    id: CpuId,
    /// The number of the root: 0 is the kernel's.
    root: usize,
    tlb: [bool; PAGES],
    /// It has flushed for another CPU since it last said so.
    flushed: bool,
    memory: Option<Arc<Memory>>,
}

loom::thread_local! {
    static CPU: RefCell<Cpu> = RefCell::new(Cpu::default());
}

/// Explores what the CPUs do, with so many preemptions.
pub fn explore(preemptions: usize, test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(test);
}

/// A machine with two spaces, number 0 and 1.
pub fn machine() -> (Arc<Memory>, Arc<[AddressSpace; 2]>) {
    let page = || Page {
        present: AtomicU64::new(1),
        freed: AtomicBool::new(false),
    };
    let memory = mm::Memory::new(Machine {
        spaces: std::array::from_fn(|_| std::array::from_fn(|_| page())),
        interrupted: AtomicU64::new(0),
        changes: std::array::from_fn(|_| Notify::new()),
        finished: AtomicUsize::new(0),
    });
    let space = |number| AddressSpace::model(number, Frame::from_number(number));
    (Arc::new(memory), Arc::new([space(1), space(2)]))
}

/// Makes this thread a CPU.
pub fn become_cpu(memory: &Arc<Memory>, id: CpuId) {
    CPU.with(|cpu| {
        *cpu.borrow_mut() = Cpu {
            id,
            memory: Some(memory.clone()),
            ..Cpu::default()
        }
    });
}

/// Switches this CPU to a space, or to none.
pub fn switch(memory: &Memory, to: Option<&AddressSpace>) {
    memory.switch_space(to, Frame::from_number(0));
}

/// An instruction of a program that touches a page, between two interrupts.
pub fn touch(memory: &Memory, page: usize) {
    memory.machine().access(page);
    interrupt(memory);
}

/// What happens between two instructions.
pub fn interrupt(memory: &Memory) {
    memory.serve();
    memory.machine().tell_others();
}

/// The plan for one page.
pub fn plan(page: usize) -> Plan {
    Plan::range(BASE + 4096 * page as u64, 1)
}

impl Machine {
    /// Edits an entry.
    pub fn clear(&self, space: usize, page: usize) {
        self.spaces[space][page].present.store(0, Ordering::Release);
    }

    /// Gives the frame of a page to somebody else.
    pub fn free(&self, space: usize, page: usize) {
        self.spaces[space][page]
            .freed
            .store(true, Ordering::Relaxed);
    }

    /// Halts, and takes interrupts, until so many CPUs have nothing more to ask, of which this is
    /// one if it `asks`.
    pub fn rest(&self, memory: &Memory, asks: bool, all: usize) {
        if asks {
            self.finished.fetch_add(1, Ordering::Release);
            self.tell_others();
        }
        interrupt(memory);
        while self.finished.load(Ordering::Acquire) < all {
            let bit = 1 << self.current();
            self.changes[self.current()].wait();
            if self.interrupted.fetch_and(!bit, Ordering::Acquire) & bit != 0 {
                interrupt(memory);
            }
        }
    }

    /// Lets those that wait look again.
    fn tell_others(&self) {
        for cpu in (0..self.changes.len()).filter(|cpu| *cpu != self.current()) {
            self.changes[cpu].notify();
        }
    }

    /// Walks the tables if need be, and uses what is cached. A page that is not there is a fault.
    fn access(&self, page: usize) {
        if self.walk(page) {
            self.use_cached(page);
        }
    }

    /// Whether a translation is cached after a look at the tables, as a CPU takes it ahead of need.
    fn walk(&self, page: usize) -> bool {
        let (root, cached) = CPU.with(|cpu| (cpu.borrow().root, cpu.borrow().tlb[page]));
        if root == 0 || cached {
            return cached;
        }
        let present = self.spaces[root - 1][page].present.load(Ordering::Relaxed) != 0;
        CPU.with(|cpu| cpu.borrow_mut().tlb[page] = present);
        present
    }

    fn use_cached(&self, page: usize) {
        let (root, cached) = CPU.with(|cpu| (cpu.borrow().root, cpu.borrow().tlb[page]));
        if cached {
            let frame = &self.spaces[root - 1][page].freed;
            assert!(!frame.load(Ordering::Relaxed), "a freed frame is reached");
        }
    }

    fn forget(&self, page: usize) {
        // Up to here the CPU may use the translation.
        self.use_cached(page);
        CPU.with(|cpu| {
            let mut cpu = cpu.borrow_mut();
            cpu.tlb[page] = false;
            cpu.flushed = true;
        });
    }
}

impl Mmu for Machine {
    /// With an interrupt on either side, and a walk ahead of need in between.
    fn load_root(&self, root: Frame) {
        let memory = CPU.with(|cpu| cpu.borrow().memory.clone());
        let memory = memory.expect("only a CPU loads a root");
        interrupt(&memory);
        (0..PAGES).for_each(|page| self.forget(page));
        fence(Ordering::SeqCst);
        CPU.with(|cpu| cpu.borrow_mut().root = root.number() as usize);
        self.walk(0);
        interrupt(&memory);
    }

    fn flush_page(&self, va: u64) {
        self.forget(((va - BASE) / 4096) as usize);
    }

    fn flush_all(&self) {
        (0..PAGES).for_each(|page| self.forget(page));
    }

    fn load(&self, _: Frame, _: usize) -> Entry {
        unreachable!("the model has tables of its own")
    }

    fn store(&self, _: Frame, _: usize, _: Entry) {
        unreachable!("the model has tables of its own")
    }

    fn compare_exchange(&self, _: Frame, _: usize, _: Entry, _: Entry) -> bool {
        unreachable!("the model has tables of its own")
    }

    fn clear_writable(&self, _: Frame, _: usize) {
        unreachable!("the model has tables of its own")
    }

    fn init_root(&self, _: Frame) {
        unreachable!("the model has tables of its own")
    }
}

impl Cpus for Machine {
    fn current(&self) -> CpuId {
        CPU.with(|cpu| cpu.borrow().id)
    }

    fn kick(&self, cpus: CpuSet) {
        self.interrupted.fetch_or(cpus.0, Ordering::Release);
        cpus.iter().for_each(|cpu| self.changes[cpu].notify());
    }

    /// Waits until something may have changed.
    fn relax(&self) {
        if CPU.with(|cpu| std::mem::take(&mut cpu.borrow_mut().flushed)) {
            self.tell_others();
        }
        self.changes[self.current()].wait();
    }
}

/// Nothing is allocated in a shootdown.
impl Frames for Machine {
    fn allocate(&self, _: Option<usize>, _: Budget) -> Option<Frame> {
        unreachable!("a shootdown takes no frame")
    }

    fn free(&self, _: Frame, _: Budget) {
        unreachable!("a shootdown frees no frame")
    }

    fn allocate_run(&self, _: u32, _: Option<usize>, _: Budget) -> Option<Frame> {
        unreachable!("a shootdown takes no frame")
    }

    fn free_run(&self, _: Frame, _: u32, _: Budget) {
        unreachable!("a shootdown frees no frame")
    }

    /// Asked for as memory begins.
    fn zero_frame(&self) -> Frame {
        Frame::from_number(3)
    }

    fn reserve(&self, _: u64) -> bool {
        unreachable!("a shootdown promises nothing")
    }

    fn unreserve(&self, _: u64) {
        unreachable!("a shootdown promises nothing")
    }

    fn meta(&self, _: Frame) -> &FrameMeta {
        unreachable!("a shootdown knows no frame")
    }

    fn zero(&self, _: Frame) {
        unreachable!("a shootdown knows no frame")
    }

    fn copy(&self, _: Frame, _: Frame) {
        unreachable!("a shootdown knows no frame")
    }

    fn read(&self, _: Frame, _: usize, _: &mut [u8]) {
        unreachable!("a shootdown knows no frame")
    }

    fn write(&self, _: Frame, _: usize, _: &[u8]) {
        unreachable!("a shootdown knows no frame")
    }

    fn load_u32(&self, _: Frame, _: usize) -> u32 {
        unreachable!("a shootdown knows no frame")
    }

    fn store_u32(&self, _: Frame, _: usize, _: u32) {
        unreachable!("a shootdown knows no frame")
    }

    fn store_u64(&self, _: Frame, _: usize, _: u64) {
        unreachable!("a shootdown knows no frame")
    }
}
