//! The initrd: a tar archive in a region that nobody can write.

use tar_no_std::TarArchiveRef;

/// Where a file lies in the archive, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// From the beginning of the archive.
    pub offset: u64,
    /// Of the file.
    pub len: u64,
}

/// Finds a file in an archive.
pub fn find(archive: &[u8], name: &str) -> Option<Place> {
    let files = TarArchiveRef::new(archive).ok()?;
    let entry = files
        .entries()
        .find(|entry| entry.filename().as_str() == Ok(name))?;
    let data = entry.data();
    Some(Place {
        offset: data.as_ptr() as u64 - archive.as_ptr() as u64,
        len: data.len() as u64,
    })
}
