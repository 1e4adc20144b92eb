//! What CPUs that meet in the memory of a family of snapshots wait for, and what they may have
//! cached meanwhile (I7, I11, rules S1, S14).

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use crate::common::{WRITE, World, page};
use fake::{FakeMachine, Memory};
use mm::{AddressSpace, Region};

/// So long a write that needs microseconds may take before it counts as one that never ends.
const NEVER: Duration = Duration::from_secs(60);

/// Writers, a CPU and a space each, that come to one empty page one after another: each while the
/// one before fills its frame with zeros.
#[derive(Clone)]
struct Writers {
    memory: std::sync::Weak<Memory>,
    spaces: Vec<Arc<AddressSpace>>,
    region: Arc<Region>,
    va: Vec<u64>,
    done: Arc<Mutex<mpsc::Sender<bool>>>,
}

impl Writers {
    fn start(&self, cpu: usize) {
        let writers = self.clone();
        thread::spawn(move || {
            let memory = writers.memory.upgrade().unwrap();
            if cpu + 1 < writers.va.len() {
                let next = writers.clone();
                memory
                    .machine()
                    .set_while_zeroing(move |_| next.let_others_come(cpu + 1));
            }
            let (space, va) = (&writers.spaces[cpu], writers.va[cpu]);
            // The machine ends what waits for ever with a panic.
            let write = || fake::on_cpu(cpu, || fake::store(&memory, space, va, 7) == Ok(()));
            let written = panic::catch_unwind(AssertUnwindSafe(write)).unwrap_or(false);
            drop(memory);
            let _ = writers.done.lock().unwrap().send(written);
        });
    }

    /// Starts the next one and waits until the family has nothing left to draw.
    fn let_others_come(&self, next: usize) {
        self.start(next);
        while self.region.reserved_frames() > 0 {
            thread::yield_now();
        }
    }
}

#[test]
fn writers_that_meet_at_one_empty_page_of_a_shared_table_do_not_wait_for_one_another() {
    let world = World::new(3);
    let region = world.region(1);
    let va = (0..3).map(|at| world.map(at, &region, WRITE)).collect();
    let copy = world.snapshot(&region);
    // A table and a page for each side, of which one table is there.
    assert_eq!(region.reserved_frames(), 3);
    let (sender, finished) = mpsc::channel();
    let writers = Writers {
        memory: Arc::downgrade(&world.memory),
        spaces: world.spaces.clone(),
        region: region.clone(),
        va,
        done: Arc::new(Mutex::new(sender)),
    };
    writers.start(0);
    for _ in 0..3 {
        let written = finished.recv_timeout(NEVER).unwrap_or(false);
        assert!(written, "a write that was paid for waits for ever");
    }
    world.memory.machine().clear_hooks();
    assert_eq!((world.word(&region, 0), world.word(&copy, 0)), (7, 0));
    let all = [region, copy];
    world.audit(&all);
    world.finish(&all);
}

#[test]
fn zeros_cached_from_a_table_that_was_being_left_give_way_to_what_is_written() {
    let world = World::new(2);
    fake::enter(&world.memory, 2, Some(&world.spaces[0]));
    let region = world.region(3);
    let va = world.map(0, &region, WRITE);
    world.store(0, 0, va, 7).unwrap();
    let copy = world.snapshot(&region);
    let b = world.map(1, &copy, WRITE);
    // CPU 2 has the directory entry of the shared table cached.
    assert_eq!(world.load(2, 0, va), Ok(7));
    let done = Arc::new(AtomicBool::new(false));
    let (flag, memory, other) = (
        done.clone(),
        Arc::downgrade(&world.memory),
        world.spaces[1].clone(),
    );
    let machine = world.memory.machine();
    machine.set_while_waiting(move |machine: &FakeMachine| {
        if flag.swap(true, Ordering::Relaxed) {
            return;
        }
        // CPU 0 has cloned the table and waits for CPU 2, which still walks the old one. There, the
        // other side shows page 2 now.
        let memory = memory.upgrade().unwrap();
        assert_eq!(
            fake::on_cpu(1, || fake::load(&memory, &other, page(b, 2))),
            Ok(0)
        );
        assert_eq!(machine.read(2, page(va, 2)), Ok(0));
    });
    world.store(0, 0, va, 8).unwrap();
    machine.clear_hooks();
    assert!(done.load(Ordering::Relaxed));
    let all = [region, copy];
    world.audit(&all);
    world.store(0, 0, page(va, 2), 5).unwrap();
    assert_eq!(world.load(2, 0, page(va, 2)), Ok(5));
    world.finish(&all);
}
