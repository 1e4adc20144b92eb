//! The file: a sealed region, as each of the processes has it.

use rt::{Error, Mapping, Region, Rights};

/// What a process needs to read a region.
pub const READ: Rights = Rights::READ.union(Rights::MAP).union(Rights::INSPECT);
/// What one needs who hands it on besides.
pub const HAND_ON: Rights = READ.union(Rights::GRANT).union(Rights::DUPLICATE);

/// The file.
pub struct File {
    region: Region,
    view: Mapping,
    len: usize,
}

impl File {
    /// The first `len` bytes of a region. `Invalid`: they are not there, or can still change.
    pub fn open(region: Region, len: u64) -> Result<File, Error> {
        let info = region.info()?;
        if info.sealed == 0 || len > info.len {
            return Err(Error::Invalid);
        }
        let view = region.map(Rights::READ)?;
        Ok(File {
            region,
            view,
            len: len as usize,
        })
    }

    /// Its bytes. If it is taken away, this process ends by a page fault.
    #[allow(unsafe_code)] // What a sealed region shows.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: what is sealed is not written by anybody, and the region has so many bytes.
        unsafe { self.view.as_slice(self.len) }
    }

    /// The region.
    pub fn region(&self) -> &Region {
        &self.region
    }
}
