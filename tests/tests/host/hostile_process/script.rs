//! Plays a script of bytes as the process of a submission ring: entries of any kind, indices that may be lies, and what
//! happens meanwhile.
//!
//! Whatever the script is, the kernel answers; and as long as the indices are honest, it takes what was published and
//! no more, and each completion is of an entry that was taken, in a cell that nobody has to read any more. The fuzzer and
//! the host tests include this file, and so does the guest suite: it needs `core` alone.

use abi::submission::{Completion, Operation};
use abi::{Error, FOREVER};

use crate::script::Script;

/// Entries of the ring, and completions.
pub const CELLS: u32 = 8;

/// Objects that the process has.
pub const OBJECTS: usize = 6;

/// Entries that a script writes at most: their numbers fit into this many bits.
const MOST: usize = 256;

/// A process with a ring of [`CELLS`] entries and as many completions, and some objects.
pub trait Process {
    /// A handle of one of its objects, less than [`OBJECTS`].
    fn object(&self, which: usize) -> u64;
    /// Writes the words of an entry into the cell of an index.
    fn write(&self, index: u32, words: [u64; 8]);
    /// Stores the tail of the entries.
    fn publish(&self, tail: u32);
    /// Stores the head of the completions.
    fn release(&self, head: u32);
    /// The head of the entries, which the kernel stores.
    fn taken(&self) -> u32;
    /// The tail of the completions, which the kernel stores.
    fn posted(&self) -> u32;
    /// The completion in the cell of an index.
    fn completion(&self, index: u32) -> Completion;
    /// Enters the ring.
    fn enter(&self, submit: u32) -> Result<u64, Error>;
    /// Something happens that operations may wait for.
    fn happens(&self, what: u8);
}

impl Script<'_> {
    fn argument(&mut self, process: &impl Process) -> u64 {
        match self.byte() {
            small @ 0..64 => small.into(),
            which @ 64..128 => process.object(usize::from(which) % OBJECTS),
            // A registered handle: few slots, few generations.
            128..160 => {
                let (slot, generation) = (self.byte() % 4, self.byte() % 4);
                u64::from(slot) | u64::from(generation) << 16
            }
            160..200 => FOREVER,
            200..240 => self.word().into(),
            _ => u64::MAX - u64::from(self.byte()),
        }
    }

    /// The words of an entry with this number.
    fn entry(&mut self, process: &impl Process, number: u64) -> [u64; 8] {
        let operation = match self.byte() {
            255 => self.word() as u16,
            code => Operation::ALL[usize::from(code) % Operation::ALL.len()] as u16,
        };
        let flags = match self.byte() {
            255 => self.word() as u16,
            flags => (flags % 16).into(),
        };
        let reserved = u64::from(self.byte() == 255);
        let mut words = [0; 8];
        words[0] = u64::from(operation) | u64::from(flags) << 16 | reserved << 32;
        words[1] = number;
        // A cancel is of an entry before it, or of none.
        let cancelled = u64::from(self.byte());
        words[2..].fill_with(|| self.argument(process));
        if operation == Operation::Cancel as u16 {
            words[2] = number.wrapping_sub(cancelled % 16);
        }
        words
    }
}

/// How far the process is.
struct State {
    /// The operations that were asked for, by the numbers of their entries; those that are completed.
    asked: [u16; MOST],
    completed: [bool; MOST],
    written: usize,
    tail: u32,
    head: u32,
    /// No index was a lie.
    honest: bool,
}

impl State {
    /// Takes all completions.
    fn reap(&mut self, process: &impl Process) {
        let posted = process.posted();
        assert!(!self.honest || posted.wrapping_sub(self.head) <= CELLS);
        let mut left = CELLS;
        while self.head != posted && left > 0 {
            let completion = process.completion(self.head);
            self.head = self.head.wrapping_add(1);
            left -= 1;
            if !self.honest {
                continue;
            }
            assert_eq!((completion.reserved, completion.reserved_after), (0, 0));
            let number = completion.user_data as usize;
            assert!(number < self.written, "it was never asked for");
            assert_eq!(completion.operation, u32::from(self.asked[number]));
            assert!(!self.completed[number], "it was completed before");
            self.completed[number] = true;
        }
        self.head = posted;
        process.release(self.head);
    }
}

/// Plays a script.
pub fn play(script: &[u8], process: &impl Process) {
    let script = &mut Script::new(script);
    let mut state = State {
        asked: [0; MOST],
        completed: [false; MOST],
        written: 0,
        tail: 0,
        head: 0,
        honest: true,
    };
    while !script.is_over() {
        match script.byte() % 8 {
            0..3 => {
                let there = state.tail.wrapping_sub(process.taken()) < CELLS;
                if state.written < MOST && (there || !state.honest) {
                    let words = script.entry(process, state.written as u64);
                    state.asked[state.written] = words[0] as u16;
                    state.written += 1;
                    process.write(state.tail, words);
                    state.tail = state.tail.wrapping_add(1);
                }
            }
            3 | 4 => {
                process.publish(state.tail);
                let (before, submit) = (process.taken(), u32::from(script.byte() % 16));
                let entered = process.enter(submit);
                if state.honest {
                    let taken = process.taken().wrapping_sub(before);
                    assert_eq!(entered, Ok(taken.into()));
                    assert!(taken <= submit.min(CELLS));
                }
            }
            5 => state.reap(process),
            6 => process.happens(script.byte()),
            _ => {
                let lie = match script.byte() % 4 {
                    0 => script.word(),
                    1 => state.tail.wrapping_add(script.byte().into()),
                    2 => state.head.wrapping_sub(script.byte().into()),
                    // No lie, which is the more likely the longer the script is to stay honest.
                    _ => continue,
                };
                state.honest = false;
                match script.byte() % 2 {
                    0 => process.publish(lie),
                    _ => process.release(lie),
                }
                let _ = process.enter(script.byte().into());
            }
        }
    }
    state.reap(process);
}
