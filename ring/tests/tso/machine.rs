//! CPUs as x86 orders them: each has a buffer of its own stores, which reach memory in their order and later.
//!
//! "x86-TSO: A Rigorous and Usable Programmer's Model for x86 Multiprocessors" (Sewell and others, 2010). A load is served
//! from the CPU's own buffer first; a fence, and a locked instruction, wait until the buffer is empty.

pub const CPUS: usize = 3;
pub type Cpu = usize;

/// A word of memory that several CPUs touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(usize)]
pub enum Word {
    /// `P.tail` or `C.head`, of the end that does not sleep: how much is published, or given back.
    Index,
    /// `waits_until` of the other: what the sleeper waits for.
    WaitsUntil,
    /// The lock of the ring.
    Lock,
    /// Whose the producing end is.
    Holder,
    /// Whether a CPU has ever had the space of a process loaded: of the first process on CPU 0, 1 and 2, of the second …
    Visited(Process, Cpu),
    /// Which space a CPU tells that it has loaded.
    Loaded(Cpu),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Process {
    First,
    Second,
}

const WORDS: usize = 4 + 3 * CPUS;

impl Word {
    fn place(self) -> usize {
        match self {
            Self::Index => 0,
            Self::WaitsUntil => 1,
            Self::Lock => 2,
            Self::Holder => 3,
            Self::Visited(process, cpu) => 4 + process as usize * CPUS + cpu,
            Self::Loaded(cpu) => 4 + 2 * CPUS + cpu,
        }
    }
}

/// Memory, and the stores that are on their way to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Machine {
    memory: [u8; WORDS],
    buffers: [Vec<(Word, u8)>; CPUS],
}

impl Machine {
    pub fn store(&mut self, cpu: Cpu, word: Word, value: u8) {
        self.buffers[cpu].push((word, value));
    }

    pub fn load(&self, cpu: Cpu, word: Word) -> u8 {
        let own = self.buffers[cpu].iter().rev();
        let newest = own.clone().find(|(stored, _)| *stored == word);
        newest.map_or(self.memory[word.place()], |(_, value)| *value)
    }

    /// MFENCE, or the part of a locked instruction that orders.
    pub fn fence(&mut self, cpu: Cpu) {
        for (word, value) in std::mem::take(&mut self.buffers[cpu]) {
            self.memory[word.place()] = value;
        }
    }

    /// A locked instruction that sets a word.
    pub fn exchange(&mut self, cpu: Cpu, word: Word, value: u8) -> u8 {
        self.fence(cpu);
        std::mem::replace(&mut self.memory[word.place()], value)
    }

    /// The oldest store of a CPU reaches memory. Whether there was one.
    pub fn drain(&mut self, cpu: Cpu) -> bool {
        if self.buffers[cpu].is_empty() {
            return false;
        }
        let (word, value) = self.buffers[cpu].remove(0);
        self.memory[word.place()] = value;
        true
    }

    pub fn is_drained(&self) -> bool {
        self.buffers.iter().all(Vec::is_empty)
    }

    /// A word as everybody sees it once all is drained.
    pub fn settled(&self, word: Word) -> u8 {
        self.memory[word.place()]
    }
}
