//! Programs of other people: where they are, what they are called, and whether they can run here.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use object::elf::{EM_X86_64, ET_DYN, ET_EXEC, FileHeader64, PF_W, PF_X, PT_INTERP, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, LittleEndian};

use crate::failure::Failure;

/// The first address that a program may use, and the end of them, as in `abi::limits`.
const USER_START: u64 = abi::limits::USER_START;
const USER_END: u64 = abi::limits::USER_END;
/// What a name may be in the initrd, in bytes: one field of a ustar header.
const NAME_LIMIT: usize = 100;
/// Names in the initrd that are not programs.
const RESERVED: [&str; 2] = ["input", "init.args"];

/// `FILE[:NAME]`, as given on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramFile {
    /// The ELF file.
    pub path: PathBuf,
    /// Its name in the initrd.
    pub name: String,
}

impl FromStr for ProgramFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A colon may also be part of the path.
        let (path, name) = match text.rsplit_once(':') {
            Some((path, name)) if !Path::new(text).exists() => (path, Some(name)),
            _ => (text, None),
        };
        let stem = Path::new(path).file_stem().and_then(|stem| stem.to_str());
        let name = name.or(stem).unwrap_or_default();
        if name.is_empty() || name.contains('/') || name.contains('\0') || name == ".." {
            return Err(format!("\"{name}\" can't be the name of a program"));
        }
        if name.len() > NAME_LIMIT {
            return Err(format!(
                "the name of a program has at most {NAME_LIMIT} bytes"
            ));
        }
        if RESERVED.contains(&name) {
            return Err(format!("the name {name} is taken by the runner; add :NAME"));
        }
        Ok(Self {
            path: path.into(),
            name: name.to_owned(),
        })
    }
}

impl ProgramFile {
    /// Reads the file and checks that it can run.
    ///
    /// # Errors
    /// A usage failure with the reason, when it can't be read or is no program for this machine.
    pub fn read(&self) -> Result<Vec<u8>, Failure> {
        let path = self.path.display();
        let bytes = std::fs::read(&self.path).map_err(|error| {
            Failure::usage(format!("the program {path} can't be read: {error}"))
        })?;
        check(&bytes).map_err(|why| Failure::usage(format!("{path} can't be started: {why}")))?;
        Ok(bytes)
    }
}

/// Checks that `bytes` are a static ELF64 executable for x86_64 with segments that can be mapped.
///
/// The kernel checks again; here the answer comes before the boot and with a reason.
///
/// # Errors
/// Why it can't be started.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    if !bytes.starts_with(b"\x7fELF") {
        return Err("it is not an ELF file".into());
    }
    if bytes.get(4) != Some(&2) {
        return Err("it is not a 64-bit ELF file".into());
    }
    let header = FileHeader64::<Endianness>::parse(bytes)
        .map_err(|error| format!("its ELF header is broken: {error}"))?;
    let endian = header
        .endian()
        .map_err(|error| format!("its ELF header is broken: {error}"))?;
    if header.e_machine(endian) != EM_X86_64 {
        return Err("it is for another machine than x86_64".into());
    }
    // A position-independent program is placed by the kernel and relocates itself.
    let lowest = match header.e_type(endian) {
        ET_EXEC => USER_START,
        ET_DYN => 0,
        _ => return Err("it is not an executable (an object or core file?)".into()),
    };
    let header = FileHeader64::<LittleEndian>::parse(bytes).map_err(|error| error.to_string())?;
    let segments = header
        .program_headers(LittleEndian, bytes)
        .map_err(|error| format!("its program headers are broken: {error}"))?;
    let mut loaded: Vec<(u64, u64)> = Vec::new();
    for segment in segments {
        if segment.p_type(LittleEndian) == PT_INTERP {
            return Err("it is dynamically linked; link it statically".into());
        }
        if segment.p_type(LittleEndian) != PT_LOAD || segment.p_memsz(LittleEndian) == 0 {
            continue;
        }
        let (start, end) = check_segment(segment, bytes)?;
        if start < lowest {
            return Err(format!(
                "its segment at {start:#x} is below {lowest:#x}, where nothing can be mapped"
            ));
        }
        loaded.push((start, end));
    }
    if loaded.is_empty() {
        return Err("it has nothing to load".into());
    }
    loaded.sort_unstable();
    if loaded.windows(2).any(|pair| pair[0].1 > pair[1].0) {
        return Err("its segments overlap".into());
    }
    let entry = header.e_entry(LittleEndian);
    if !loaded
        .iter()
        .any(|&(start, end)| (start..end).contains(&entry))
    {
        return Err(format!("its entry point {entry:#x} is in no segment"));
    }
    Ok(())
}

/// Checks one segment to load and answers where it begins and ends in memory.
fn check_segment(
    segment: &impl ProgramHeader<Endian = LittleEndian, Word = u64>,
    bytes: &[u8],
) -> Result<(u64, u64), String> {
    let start = segment.p_vaddr(LittleEndian);
    let size = segment.p_memsz(LittleEndian);
    let end = start.checked_add(size).filter(|&end| end <= USER_END);
    let Some(end) = end else {
        return Err(format!(
            "its segment at {start:#x} is outside the user half of memory"
        ));
    };
    if segment.p_filesz(LittleEndian) > size || segment.data(LittleEndian, bytes).is_err() {
        return Err(format!("its segment at {start:#x} is truncated"));
    }
    let flags = segment.p_flags(LittleEndian);
    if flags & PF_W == PF_W && flags & PF_X == PF_X {
        return Err(format!(
            "its segment at {start:#x} is writable and executable"
        ));
    }
    Ok((start, end))
}
