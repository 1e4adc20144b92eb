//! Processes: a domain, a thread, an image and a stack; how they begin and how they end.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};

use abi::limits::{LEAF_SIZE, MAX_NAME, MAX_PROCESSES, PAGE_SIZE, STACK_SIZE};
use abi::{
    Error, Handle, ProcessInfo, ProcessState, ProcessStatus, Resources, Rights, StartInfo, cost,
};
use arch::stack;
use ipc::{Domain, Events, ImageInfo, Level, Parked, alarms};
use mm::lock::{Lock, Rank};
use mm::{Account, Charge, MapRequest, Permit, Region};
use spin::Once;

use crate::machine::{Kernel, ipc};
use crate::thread::Thread;
use crate::{random, sched};

/// A process.
pub struct Process {
    name: String,
    domain: Arc<Domain<Kernel>>,
    image: Arc<Region>,
    stack: Arc<Region>,
    image_info: ImageInfo,
    stack_va: u64,
    /// The address of the [`StartInfo`].
    start_info: AtomicU64,
    /// The first stack pointer.
    start_stack: AtomicU64,
    /// Until it ends.
    thread: Lock<Option<Arc<Thread>>>,
    /// From its end on.
    status: Once<ProcessStatus>,
    waiters: Lock<Vec<Arc<Thread>>>,
    /// Who waits for its end, or for its faults.
    events: Events<Kernel>,
    syscalls: AtomicU64,
    faults: AtomicU64,
    _place: Place,
    /// Of its record, its thread and its kernel stack.
    _charge: Charge,
}

const _: () = {
    let records = size_of::<Process>() + size_of::<Thread>() + MAX_NAME as usize;
    let records = records + alarms::Place::<Arc<Thread>>::BYTES;
    assert!(records as u64 + stack::STACK_SIZE + 1024 <= cost::PROCESS);
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
    /// A process that runs an instance of an image and has not begun. It is to be started or
    /// discarded. `account` pays for it and for all that it will make. When it fails, nothing is
    /// left of it.
    pub fn create(
        account: &Arc<Account>,
        name: String,
        image: &Region,
        image_info: ImageInfo,
        cpu: usize,
    ) -> Result<Arc<Process>, Error> {
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
        let process = Arc::new(Process {
            name,
            domain,
            image: instance,
            stack,
            image_info,
            stack_va: mapped.unwrap_or(0),
            start_info: AtomicU64::new(0),
            start_stack: AtomicU64::new(0),
            thread: Lock::new(Rank::Processes, None),
            status: Once::new(),
            waiters: Lock::new(Rank::Queue, Vec::new()),
            events: Events::new(),
            syscalls: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            _place: place,
            _charge: charge,
        });
        let thread = mapped.and_then(|_| Thread::new(process.clone(), cpu, begin));
        match thread {
            Ok(thread) => {
                *process.thread.lock() = Some(thread);
                Ok(process)
            }
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

    /// Which events hold for it.
    pub fn level(&self) -> Level {
        match self.status.is_completed() {
            true => Level::of(abi::Events::ENDED),
            false => Level::NONE,
        }
    }

    /// Its name, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counts a system call. Only its own thread does.
    pub fn count_syscall(&self) {
        let count = self.syscalls.load(Ordering::Relaxed);
        self.syscalls.store(count + 1, Ordering::Relaxed);
    }

    /// Counts a fault. Only its own thread does.
    pub fn count_fault(&self) {
        let count = self.faults.load(Ordering::Relaxed);
        self.faults.store(count + 1, Ordering::Relaxed);
    }

    /// Faults that it took.
    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    /// Facts about it.
    pub fn info(&self) -> ProcessInfo {
        let state = match self.status.get() {
            Some(status) => status.state,
            None => ProcessState::Running as u32,
        };
        ProcessInfo {
            koid: self.domain.koid(),
            syscalls: self.syscalls.load(Ordering::Relaxed),
            faults: self.faults(),
            handles: self.domain.handle_count() as u64,
            mappings: self.domain.space().mapping_count() as u64,
            state,
            cpu: self
                .thread
                .lock()
                .as_ref()
                .map_or(0, |thread| thread.cpu() as u32),
            used: self.domain.account().used(),
            quota: self.domain.account().quota(),
        }
    }

    /// Writes what the program finds when it begins to the top of its stack: from the top down the
    /// [`StartInfo`], the handles, the arguments.
    pub fn write_start(&self, args: &[u8], handles: &[Handle]) -> Result<(), Error> {
        let info_at = LEAF_SIZE - size_of::<StartInfo>() as u64;
        let handles_at = info_at - size_of_val(handles) as u64;
        let args_at = (handles_at - args.len() as u64) & !15;
        let memory = ipc().memory();
        memory.write_region(&self.stack, args_at, args)?;
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
        if let Some(thread) = &*self.thread.lock() {
            sched::start(thread);
        }
    }

    /// Returns what a process holds that never ran.
    pub fn discard(&self) {
        self.release();
        ipc().memory().destroy_space(self.domain.space());
        drop(self.thread.lock().take());
    }

    /// Ends it, wherever it is. Nothing happens when it has ended.
    pub fn kill(&self) {
        let thread = self.thread.lock().clone();
        if let Some(thread) = thread {
            sched::end(&thread);
        }
    }

    /// Waits until it has ended and tells how.
    pub fn wait(&self, deadline_ns: u64) -> Result<ProcessStatus, Error> {
        loop {
            if let Some(status) = self.status.get() {
                return Ok(*status);
            }
            if deadline_ns == 0 {
                return Err(Error::WouldBlock);
            }
            let me = sched::current();
            {
                let mut waiters = self.waiters.lock();
                // The status is set before the waiters are woken under this lock.
                if self.status.is_completed() {
                    continue;
                }
                waiters.try_reserve(1).map_err(|_| Error::NoMemory)?;
                waiters.push(me.clone());
            }
            let parked = sched::park(deadline_ns);
            self.waiters.lock().retain(|other| !Arc::ptr_eq(other, &me));
            match parked {
                Parked::Unparked => {}
                Parked::TimedOut => return Err(Error::TimedOut),
                Parked::Ending => return Err(Error::Interrupted),
            }
        }
    }

    /// Returns everything but the page tables and the thread.
    fn release(&self) {
        ipc().clear_domain(&self.domain);
        ipc().memory().destroy_region(&self.image);
        ipc().memory().destroy_region(&self.stack);
    }
}

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
    let permit: Arc<Permit> = Arc::new(Permit::new());
    ipc().memory().map(
        domain.space(),
        MapRequest {
            region,
            permit,
            view: 0,
            hint: place.unwrap_or(0),
            fixed: place.is_some(),
            guard: false,
            offset: 0,
            len: 0,
            access,
            limit: access,
        },
    )
}

/// The first code of every thread of a process.
extern "C" fn begin(_: usize) -> ! {
    sched::finish_switch();
    arch::cpu::enable_interrupts();
    let (entry, stack, info) = sched::with_current(|thread| {
        let process = thread
            .process()
            .expect("only threads of processes begin here");
        let info = process.start_info.load(Ordering::Relaxed);
        (
            process.image_info.entry,
            process.start_stack.load(Ordering::Relaxed),
            info,
        )
    });
    arch::user::enter(entry, stack, info, 0)
}

/// Ends the current process, which was killed.
pub fn end_killed() -> ! {
    end_current(ProcessStatus {
        state: ProcessState::Killed as u32,
        ..ProcessStatus::default()
    })
}

/// Ends the current process: returns everything that it held, tells everybody, and never comes
/// back.
pub fn end_current(status: ProcessStatus) -> ! {
    {
        let thread = sched::current();
        let process = thread.process().expect("a process ends by its own thread");
        process.release();
        ipc().end_task(&thread);
        sched::leave_space();
        ipc().memory().destroy_space(process.domain.space());
        drop(process.thread.lock().take());
        thread.set_ended();
        process.status.call_once(|| status);
        let waiters = core::mem::take(&mut *process.waiters.lock());
        waiters.iter().for_each(sched::unpark);
        // Its level is read without a lock.
        fence(Ordering::SeqCst);
        ipc().fire(&process.events, abi::Events::ENDED, 0);
        crate::init::process_ended(process, &status);
    }
    sched::leave()
}
