//! Which of the instructions behind a figure are dear ones.
//!
//! A count of instructions hides what they cost on hardware; these are the ones that cost tens or hundreds
//! of cycles each. The interrupt controller is programmed through memory (xAPIC), so that an interrupt
//! to another CPU is no WRMSR.

use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use object::{Object, ObjectSection, SectionKind};

/// Instructions of one execution.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them; an iteration of a repeated one counts as one.
    pub traced: u64,
    /// Loads of CR3.
    pub cr3: u64,
    /// INVLPG.
    pub invlpg: u64,
    /// WRMSR.
    pub wrmsr: u64,
    /// Those that lock the bus: with the prefix, and XCHG with memory.
    pub locked: u64,
    /// IRET.
    pub iret: u64,
    /// FXSAVE, XSAVE and XSAVEOPT, FXRSTOR and XRSTOR.
    pub xsave: u64,
}

/// Names of the columns, as they stand in the JSON.
pub const COLUMNS: [&str; 6] = ["cr3", "invlpg", "wrmsr", "locked", "iret", "xsave"];

impl Counts {
    /// The numbers of [`COLUMNS`].
    pub fn columns(&self) -> [u64; 6] {
        [
            self.cr3,
            self.invlpg,
            self.wrmsr,
            self.locked,
            self.iret,
            self.xsave,
        ]
    }

    /// The share of each of `parts` in what this has more than `less`.
    pub fn each_more_than(&self, less: &Counts, parts: u64) -> Counts {
        let share = |of: fn(&Counts) -> u64| of(self).saturating_sub(of(less)) / parts.max(1);
        Counts {
            traced: share(|counts| counts.traced),
            cr3: share(|counts| counts.cr3),
            invlpg: share(|counts| counts.invlpg),
            wrmsr: share(|counts| counts.wrmsr),
            locked: share(|counts| counts.locked),
            iret: share(|counts| counts.iret),
            xsave: share(|counts| counts.xsave),
        }
    }

    fn add(&mut self, instruction: &Instruction) {
        self.traced += 1;
        let with_memory = (0..instruction.op_count())
            .any(|operand| instruction.op_kind(operand) == OpKind::Memory);
        match instruction.mnemonic() {
            Mnemonic::Mov if instruction.code() == Code::Mov_cr_r64 => {
                self.cr3 += u64::from(instruction.op0_register() == Register::CR3);
            }
            Mnemonic::Invlpg => self.invlpg += 1,
            Mnemonic::Wrmsr => self.wrmsr += 1,
            Mnemonic::Iret | Mnemonic::Iretd | Mnemonic::Iretq => self.iret += 1,
            Mnemonic::Fxsave
            | Mnemonic::Fxsave64
            | Mnemonic::Fxrstor
            | Mnemonic::Fxrstor64
            | Mnemonic::Xsave
            | Mnemonic::Xsave64
            | Mnemonic::Xsaveopt
            | Mnemonic::Xsaveopt64
            | Mnemonic::Xrstor
            | Mnemonic::Xrstor64 => self.xsave += 1,
            Mnemonic::Xchg if with_memory => self.locked += 1,
            _ => self.locked += u64::from(instruction.has_lock_prefix()),
        }
    }
}

/// Machine code by address.
#[derive(Debug, Default)]
pub struct Text {
    sections: Vec<(u64, Vec<u8>)>,
}

impl Text {
    /// Adds bytes that lie at `address`.
    pub fn add(&mut self, address: u64, bytes: &[u8]) {
        self.sections.push((address, bytes.to_vec()));
    }

    /// Adds the code of an executable.
    pub fn add_file(&mut self, file: &object::File<'_>) {
        for section in file.sections() {
            if section.kind() == SectionKind::Text
                && let Ok(bytes) = section.data()
            {
                self.add(section.address(), bytes);
            }
        }
    }

    /// The code from `address` to the end of its section.
    pub fn from(&self, address: u64) -> Option<&[u8]> {
        self.sections.iter().find_map(|(start, bytes)| {
            let offset = usize::try_from(address.checked_sub(*start)?).ok()?;
            bytes.get(offset..).filter(|rest| !rest.is_empty())
        })
    }

    fn at(&self, address: u64) -> Option<Instruction> {
        let mut decoder = Decoder::with_ip(64, self.from(address)?, address, DecoderOptions::NONE);
        Some(decoder.decode()).filter(|instruction| !instruction.is_invalid())
    }

    /// Counts what was executed between the first and the last reading of the time-stamp counter, the
    /// latter included: what a figure is the difference of. Readings count in the half of the
    /// addresses in which `near` lies: programs, or the kernel. Nothing without two of them.
    pub fn count(&self, executed: &[u64], near: u64) -> Option<Counts> {
        let read: Vec<_> = executed.iter().map(|address| self.at(*address)).collect();
        let reads_counter = |instruction: &Option<Instruction>| {
            instruction.is_some_and(|instruction| {
                instruction.mnemonic() == Mnemonic::Rdtsc
                    && (instruction.ip() ^ near).leading_zeros() > 0
            })
        };
        let first = read.iter().position(reads_counter)?;
        let last = read.iter().rposition(reads_counter)?;
        let mut counts = Counts::default();
        for instruction in read.get(first + 1..=last).filter(|some| !some.is_empty())? {
            match instruction {
                Some(instruction) => counts.add(instruction),
                None => counts.traced += 1,
            }
        }
        Some(counts)
    }
}
