//! Processes: a domain, threads, an image and a stack; how they begin and how they end.

mod stops;
mod threads;

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use abi::limits::{LEAF_SIZE, MAX_NAME, MAX_PROCESSES, PAGE_SIZE, STACK_SIZE};
use abi::{
    Error, Handle, ProcessInfo, ProcessState, ProcessStatus, Resources, Rights, StartInfo, cost,
};
use arch::stack;
use ipc::{Domain, Events, ImageInfo};
use mm::lock::{Lock, Rank};
use mm::{Account, Charge, MapRequest, Permit, Region};
use spin::Once;

use crate::machine::{Kernel, ipc};
use crate::sched::Alarm;
use crate::thread::{Beginning, Thread, Wanted};
use crate::{random, sched};
pub use stops::Stop;
use threads::Threads;
pub use threads::{end_current, leave_current};

/// What is asked of a new process.
pub struct Limits {
    /// How urgent its threads may be; its first one is.
    pub priority: u8,
    /// The CPUs that its threads may run on.
    pub cpus: u64,
}

impl Limits {
    /// The CPUs that somebody may run on who asks for some, or for all by 0.
    pub fn cpus_of(&self, wanted: u64) -> u64 {
        match wanted {
            0 => self.cpus,
            wanted => wanted & self.cpus,
        }
    }
}

/// A process.
pub struct Process {
    name: String,
    domain: Arc<Domain<Kernel>>,
    image: Arc<Region>,
    stack: Arc<Region>,
    image_info: ImageInfo,
    stack_va: u64,
    limits: Limits,
    /// The first instruction.
    start_entry: AtomicU64,
    /// The address of the [`StartInfo`].
    start_info: AtomicU64,
    /// The first stack pointer.
    start_stack: AtomicU64,
    threads: Lock<Threads>,
    /// From its end on.
    status: Once<ProcessStatus>,
    /// How often its threads may still enter the kernel; 0 without a limit.
    pub(crate) fuse: AtomicU64,
    /// Who waits for its end, or for its faults.
    events: Events<Kernel>,
    _place: Place,
    /// Of its record, its thread and its kernel stack.
    _charge: Charge,
}

const _: () = {
    let records = size_of::<Process>() + size_of::<Thread>() + MAX_NAME as usize;
    let records = records + Alarm::BYTES;
    assert!(records as u64 + stack::STACK_SIZE + 1024 <= cost::PROCESS);
    let thread = size_of::<Thread>() + Alarm::BYTES;
    assert!(thread as u64 + stack::STACK_SIZE + 1024 <= cost::THREAD);
};

/// One of the processes that may exist.
struct Place;

static ALIVE: AtomicUsize = AtomicUsize::new(0);

impl Place {
    fn take() -> Result<Place, Error> {
        ALIVE
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |alive| {
                (alive < MAX_PROCESSES).then_some(alive + 1)
            })
            .map(|_| Place)
            .map_err(|_| Error::Limit)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Processes that exist, the ended ones that somebody still has a handle of included.
pub fn alive() -> usize {
    ALIVE.load(Ordering::Relaxed)
}

impl Process {
    /// A process that runs an instance of an image and has not begun. It is to be started or, while nobody knows it,
    /// discarded. `account` pays for it and for all that it will make. When it fails, nothing is
    /// left of it.
    pub fn create(
        account: &Arc<Account>,
        name: String,
        image: &Region,
        image_info: ImageInfo,
        limits: Limits,
    ) -> Result<Arc<Process>, Error> {
        let cpu = sched::place(limits.cpus).ok_or(Error::Invalid)?;
        let place = Place::take()?;
        let charge = account.charge(Resources::bytes(cost::PROCESS))?;
        let memory = ipc().memory();
        let instance = memory.instantiate(account, image)?;
        let stack = memory
            .create_stack_region(account, STACK_SIZE / PAGE_SIZE)
            .inspect_err(|_| memory.destroy_region(&instance))?;
        let domain = ipc()
            .create_domain(account, random::mapping_base())
            .inspect_err(|_| {
                memory.destroy_region(&instance);
                memory.destroy_region(&stack);
            })?;
        let mapped = map_part(&domain, &instance, Some(image_info.base), Rights::ACCESS)
            .and_then(|_| map_part(&domain, &stack, None, Rights::READ | Rights::WRITE));
        let process = mm::shared(Process {
            name,
            domain,
            image: instance,
            stack,
            image_info,
            stack_va: mapped.unwrap_or(0),
            limits,
            start_entry: AtomicU64::new(image_info.entry),
            start_info: AtomicU64::new(0),
            start_stack: AtomicU64::new(0),
            threads: Lock::new(Rank::Processes, Threads::default()),
            status: Once::new(),
            fuse: AtomicU64::new(0),
            events: Events::new(),
            _place: place,
            _charge: charge,
        });
        let wanted = Wanted {
            cpu,
            priority: process.limits.priority,
            tls: 0,
            charge: None,
        };
        let thread = mapped
            .and_then(|_| Thread::new(process.clone(), wanted, begin, None))
            .and_then(|thread| process.threads.lock().add(thread));
        match thread {
            Ok(()) => Ok(process),
            Err(error) => {
                process.discard();
                Err(error)
            }
        }
    }

    /// Its domain.
    pub fn domain(&self) -> &Arc<Domain<Kernel>> {
        &self.domain
    }

    /// Who waits for its events.
    pub fn events(&self) -> &Events<Kernel> {
        &self.events
    }

    /// Its name, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its threads are held to.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How it has ended, if it has.
    pub fn status(&self) -> Option<&ProcessStatus> {
        self.status.get()
    }

    /// Faults that it took.
    pub fn faults(&self) -> u64 {
        let [_, faults] = self.threads.lock().counts();
        faults
    }

    /// Facts about it.
    pub fn info(&self) -> ProcessInfo {
        let state = match self.status.get() {
            Some(status) => status.state,
            None => ProcessState::Running as u32,
        };
        let (cpu, [syscalls, faults]) = {
            let threads = self.threads.lock();
            (threads.cpu(), threads.counts())
        };
        ProcessInfo {
            koid: self.domain.koid(),
            syscalls,
            faults,
            handles: self.domain.handle_count() as u64,
            mappings: self.domain.space().mapping_count() as u64,
            state,
            cpu,
            used: self.domain.account().used(),
            quota: self.domain.account().quota(),
        }
    }

    /// Writes what the program finds when it begins to the top of its stack: from the top down the
    /// [`StartInfo`], the handles, the arguments.
    pub fn write_start(&self, args: &[u8], handles: &[Handle]) -> Result<(), Error> {
        let info_at = LEAF_SIZE - size_of::<StartInfo>() as u64;
        let handles_at = info_at - size_of_val(handles) as u64;
        let args_at = (handles_at - args.len() as u64 - SABOTAGE_BYTES) & !15;
        let memory = ipc().memory();
        memory.write_region(&self.stack, args_at, args)?;
        #[cfg(sabotage)]
        {
            let name = mm::sabotage::chosen().as_bytes();
            assert!(
                (name.len() as u64) < SABOTAGE_BYTES,
                "a name without an end"
            );
            memory.write_region(&self.stack, args_at + args.len() as u64, name)?;
        }
        for (handle, at) in handles.iter().zip((handles_at..).step_by(8)) {
            memory.write_region(&self.stack, at, &handle.bits().to_le_bytes())?;
        }
        // In the order of the fields of `StartInfo`.
        let words = [
            abi::VERSION,
            self.stack_va + args_at,
            args.len() as u64,
            self.stack_va + handles_at,
            handles.len() as u64,
            self.image_info.base,
        ];
        for (word, at) in words.iter().zip((info_at..).step_by(8)) {
            memory.write_region(&self.stack, at, &word.to_le_bytes())?;
        }
        self.start_info
            .store(self.stack_va + info_at, Ordering::Relaxed);
        self.start_stack
            .store(self.stack_va + args_at, Ordering::Relaxed);
        Ok(())
    }

    /// Lets it run.
    pub fn start(&self) {
        let first = self.threads.lock().first();
        first.iter().for_each(sched::start);
    }

    /// Returns what a process holds that nobody knows, so that it was neither started nor ended.
    pub fn discard(&self) {
        debug_assert!(self.threads.lock().is_unborn(), "somebody knew it");
        self.release();
        ipc().memory().destroy_space(self.domain.space());
        self.threads.lock().clear();
    }

    /// How it ended, if it has.
    pub fn ended(&self) -> Option<ProcessStatus> {
        self.status.get().copied()
    }

    /// How its first thread begins.
    fn beginning(&self) -> Beginning {
        Beginning {
            entry: self.start_entry.load(Ordering::Relaxed),
            stack: self.start_stack.load(Ordering::Relaxed),
            argument: self.start_info.load(Ordering::Relaxed),
        }
    }

    /// Returns everything but the page tables and the threads.
    fn release(&self) {
        ipc().clear_domain(&self.domain);
        ipc().memory().destroy_region(&self.image);
        ipc().memory().destroy_region(&self.stack);
    }
}

/// Room behind the arguments of a program, which are not told of it, for the name of the mechanism that it is to do
/// without, and a zero.
const SABOTAGE_BYTES: u64 = if cfg!(sabotage) { 80 } else { 0 };

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("name", &self.name)
            .field("koid", &self.domain.koid())
            .finish_non_exhaustive()
    }
}

/// Maps the image or the stack, at a place if it has one. No capability names them: the process
/// itself is the authority.
fn map_part(
    domain: &Domain<Kernel>,
    region: &Arc<Region>,
    place: Option<u64>,
    access: Rights,
) -> Result<u64, Error> {
    let permit: Arc<Permit> = mm::shared(Permit::new());
    ipc().memory().map(
        domain.space(),
        MapRequest {
            hint: place.unwrap_or(0),
            fixed: place.is_some(),
            ..MapRequest::whole(region, permit, access)
        },
    )
}

/// The first code of every thread of a process.
extern "C" fn begin(_: usize) -> ! {
    arch::cpu::enable_interrupts();
    // Whoever ended it may have started it for that.
    if sched::with_current(Thread::is_ending) {
        leave_current();
    }
    let Beginning {
        entry,
        stack,
        argument,
    } = sched::with_current(|thread| {
        let process = thread.process();
        thread.beginning().unwrap_or_else(|| {
            process
                .expect("only threads of processes begin here")
                .beginning()
        })
    });
    arch::user::enter(entry, stack, argument, 0)
}
