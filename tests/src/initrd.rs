//! The initrd: a ustar archive with the programs, the input and the arguments of `init`.
//!
//! Equal contents give equal bytes (no times, no owners), so a run can repeat exactly.

use std::io;

use tar::{Builder, EntryType, Header};

/// The archive member that holds the input file.
pub const INPUT: &str = "input";
/// The archive member that holds the arguments of `init`, each ended by a NUL byte.
pub const ARGUMENTS: &str = "init.args";

/// Packs the archive: `programs` under their names in the given order, then input and arguments.
///
/// # Errors
/// `InvalidInput` when a name does not fit a ustar header or an argument holds a NUL byte.
pub fn pack<'a>(
    programs: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    input: &[u8],
    arguments: &[String],
) -> io::Result<Vec<u8>> {
    let mut encoded = Vec::new();
    for argument in arguments {
        if argument.contains('\0') {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "an argument holds a NUL byte",
            ));
        }
        encoded.extend_from_slice(argument.as_bytes());
        encoded.push(0);
    }
    let mut archive = Builder::new(Vec::new());
    for (name, program) in programs {
        append(&mut archive, name, 0o755, program)?;
    }
    append(&mut archive, INPUT, 0o644, input)?;
    append(&mut archive, ARGUMENTS, 0o644, &encoded)?;
    archive.into_inner()
}

fn append(archive: &mut Builder<Vec<u8>>, name: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_path(name)?;
    header.set_entry_type(EntryType::Regular);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_size(bytes.len() as u64);
    header.set_cksum();
    archive.append(&header, bytes)
}
