//! The initrd: a tar archive in a region that nobody can write, and the programs in it.

use rt::{Error, Handle, Region, Rights};
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

/// Where a file of the initrd lies. `NotFound`: there is no such file.
#[allow(unsafe_code)] // What the initrd's own mapping shows.
pub fn place(initrd: &Region, name: &str) -> Result<Place, Error> {
    let view = initrd.map(Rights::READ)?;
    // SAFETY: nobody can write the initrd, and the mapping is there until the end of this function.
    let files = unsafe { view.as_slice(view.len() as usize) };
    find(files, name).ok_or(Error::NotFound)
}

/// The image of a program of the initrd, to be given back with [`rt::drop_handle`]. `NotFound`: there is
/// no such file.
pub fn image(initrd: &Region, name: &str) -> Result<Handle, Error> {
    let place = place(initrd, name)?;
    rt::image_from(initrd.handle(), place.offset, place.len)
}
