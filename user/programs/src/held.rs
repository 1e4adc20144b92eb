//! What the system holds, to be compared before and after.

use rt::{Error, Resources};

/// How long to wait before looking again.
const PAUSE_NS: u64 = 100_000;

/// What the system holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Frames that are free or that the kernel's own heap and stacks have kept.
    frames: u64,
    reserved: u64,
    objects: u64,
    processes: u32,
    charged: Resources,
    /// Bytes of the kernel's heap.
    heap: u64,
}

impl Held {
    /// What it holds now.
    pub fn now() -> Result<Held, Error> {
        let info = rt::system_info()?;
        Ok(Held {
            frames: info.frames_free + info.frames_heap,
            reserved: info.frames_reserved,
            objects: info.objects,
            processes: info.processes,
            charged: info.charged,
            heap: info.heap_used,
        })
    }

    /// Waits until everything is as it was, once the last processes are gone. The error is what it is
    /// at the deadline.
    pub fn restored(&self, deadline_ns: u64) -> Result<(), Held> {
        self.agrees(deadline_ns, Held::clone)
    }

    /// The same but for the promises, of which the kernel's heap may have used some up.
    pub fn besides_promises(&self, deadline_ns: u64) -> Result<(), Held> {
        let besides = |held: &Held| Held {
            reserved: 0,
            ..held.clone()
        };
        self.agrees(deadline_ns, besides)
    }

    /// The same but for what is free and promised.
    pub fn besides_frames(&self, deadline_ns: u64) -> Result<(), Held> {
        let besides = |held: &Held| Held {
            frames: 0,
            reserved: 0,
            ..held.clone()
        };
        self.agrees(deadline_ns, besides)
    }

    /// The same but for the kernel's heap, where lists that were long keep some room.
    pub fn besides_heap(&self, deadline_ns: u64) -> Result<(), Held> {
        let besides = |held: &Held| Held {
            heap: 0,
            ..held.clone()
        };
        self.agrees(deadline_ns, besides)
    }

    fn agrees(&self, deadline_ns: u64, compared: impl Fn(&Held) -> Held) -> Result<(), Held> {
        loop {
            let Ok(now) = Held::now() else {
                return Err(self.clone());
            };
            if compared(&now) == compared(self) {
                return Ok(());
            }
            if rt::now_ns() > deadline_ns {
                return Err(now);
            }
            // Those that are about to end may be less urgent than this process.
            let _ = rt::sleep_until(rt::now_ns() + PAUSE_NS);
        }
    }
}
