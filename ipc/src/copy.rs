//! Copies from region to region, of which nobody need have mapped either.
//!
//! They go through a small buffer, so that no two regions are locked at once. A piece is read while the capability
//! of the source is seen to be live under the lock of its region, and written while that of the target is under the lock
//! of its own, where the source's is looked at once more. So when a revoke of either has returned, nothing is
//! read of the source or written to the target by what it killed, and of what had been read nothing more is copied than
//! the piece, if there is one, whose writing had begun (I5, S4).

use abi::limits::MAX_COPY;
use abi::{Error, Handle, ObjectKind, Rights};

use crate::{Domain, Ipc, Platform};

/// Bytes that are copied at once.
const PIECE: usize = 1024;

impl<P: Platform> Ipc<P> {
    /// Copies bytes from a region to another, with WRITE and READ: at most
    /// [`MAX_COPY`], in ascending order. Returns how many.
    ///
    /// # Errors
    /// `Range`: beyond what a capability covers; `Sealed`; `Denied`; `Unsupported`: device memory, or a
    /// region that can be executed; `NoMemory`: a region that overcommits is lost; those of a look-up. Bytes
    /// before the place that it fails at may have been copied.
    pub fn copy_region(
        &self,
        domain: &Domain<P>,
        region: Handle,
        offset: u64,
        source: Handle,
        source_offset: u64,
        len: u64,
    ) -> Result<u64, Error> {
        let kind = Some(ObjectKind::Region);
        let to = domain.look_up(region, kind, Rights::WRITE)?;
        let from = domain.look_up(source, kind, Rights::READ)?;
        let to_region = to.object().region().ok_or(Error::WrongKind)?;
        let from_region = from.object().region().ok_or(Error::WrongKind)?;
        let to_at = to.node.part().bytes(to_region, offset, len)?;
        let from_at = from.node.part().bytes(from_region, source_offset, len)?;
        let (to_permit, from_permit) = (to.node.permit(), from.node.permit());
        let len = len.min(MAX_COPY);
        let mut buffer = [0; PIECE];
        let mut done = 0;
        while done < len {
            let piece = &mut buffer[..(len - done).min(PIECE as u64) as usize];
            let memory = &self.memory;
            let read = memory.read_region_by(from_region, &from_permit, from_at + done, piece);
            read.map_err(|error| from.refuse(error))?;
            let (at, permit) = (to_at + done, &to_permit);
            let written = memory.write_region_by(to_region, permit, &from_permit, at, piece);
            written.map_err(|error| to.refuse(error))?;
            done += piece.len() as u64;
        }
        Ok(done)
    }
}
