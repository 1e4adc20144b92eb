//! One boot: what goes into the machine, and the run that comes out.

use std::io::Write;

use crate::build::{self, Guest};
use crate::failure::Failure;
use crate::initrd;
use crate::machine::{MIB, Machine};
use crate::program::ProgramFile;
use crate::qemu::{Qemu, Run};

/// What has to be there beside the initrd for a machine to begin, in MiB.
const BESIDE_INITRD_MIB: u64 = 4;

/// Everything that a boot needs.
#[derive(Debug)]
pub struct Boot<'a> {
    /// The emulator.
    pub qemu: &'a Qemu,
    /// The kernel and our programs.
    pub guest: &'a Guest,
    /// The machine.
    pub machine: &'a Machine,
    /// Further programs: names and ELF files.
    pub programs: &'a [(ProgramFile, Vec<u8>)],
    /// The contents of the input file.
    pub input: &'a [u8],
    /// The arguments of `init`.
    pub arguments: &'a [String],
}

impl Boot<'_> {
    /// Boots, hands every serial line to `on_line` as it comes, and waits for the end.
    ///
    /// `announce` gets QEMU's command line before it starts.
    ///
    /// # Errors
    /// When a file can't be read or written, or QEMU can't be started. How the machine ended is in
    /// the [`Run`].
    pub fn run(
        &self,
        announce: impl FnOnce(&str),
        on_line: &mut dyn FnMut(&str),
    ) -> Result<Run, Failure> {
        let archive = self.archive()?;
        self.check_room(archive.len() as u64)?;
        let directory = build::guest_directory();
        let written = std::fs::create_dir_all(&directory).and_then(|()| {
            let mut file = tempfile::Builder::new()
                .prefix("initrd-")
                .suffix(".tar")
                .tempfile_in(&directory)?;
            file.write_all(&archive)?;
            Ok(file)
        });
        let file = written.map_err(|error| {
            Failure::failed(format!(
                "the initrd can't be written to {}: {error}",
                directory.display()
            ))
        })?;
        let arguments =
            self.machine
                .arguments(&self.guest.kernel, file.path(), archive.len() as u64);
        announce(&shell_words::join(
            std::iter::once(self.qemu.program().to_string_lossy())
                .chain(arguments.iter().map(|word| word.to_string_lossy())),
        ));
        self.qemu.run(&arguments, self.machine.time_limit, on_line)
    }

    /// The emulator would say so in words of its own.
    fn check_room(&self, initrd_bytes: u64) -> Result<(), Failure> {
        let needed = initrd_bytes.div_ceil(MIB) + BESIDE_INITRD_MIB;
        match self.machine.memory_mib {
            Some(given) if given < needed => Err(Failure::usage(format!(
                "--memory {given}M: the files alone need {needed}M; without --memory there is enough"
            ))),
            _ => Ok(()),
        }
    }

    fn archive(&self) -> Result<Vec<u8>, Failure> {
        let mut ours = Vec::new();
        for (name, path) in &self.guest.programs {
            let bytes = std::fs::read(path).map_err(|error| {
                Failure::failed(format!("{} can't be read: {error}", path.display()))
            })?;
            ours.push((name.as_str(), bytes));
        }
        let ours = ours.iter().map(|(name, bytes)| (*name, bytes.as_slice()));
        let others = self
            .programs
            .iter()
            .map(|(file, bytes)| (file.name.as_str(), bytes.as_slice()));
        initrd::pack(ours.chain(others), self.input, self.arguments)
            .map_err(|error| Failure::usage(format!("the initrd can't be packed: {error}")))
    }
}
