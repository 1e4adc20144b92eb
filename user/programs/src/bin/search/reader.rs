//! Reads the file into a region, which nobody can write afterwards, and hands it on.
//!
//! Arguments: the offset and the length of the file in the initrd. Handles: the initrd, and the ring to
//! the splitter.

use programs::search::{File, HAND_ON, Outlet};
use rt::{Env, Error, Region, Rights};

pub fn run(env: &Env) -> Result<u8, Error> {
    let number = |index| env.args().nth(index)?.parse().ok();
    let (Some(offset), Some(len)) = (number(1), number(2)) else {
        return Err(Error::Invalid);
    };
    let mut out = Outlet::open(env.handle(1))?;
    let file = read(&Region::from_handle(env.handle(0)), offset, len)?;
    // What is handed on is there for the splitter even when this process has ended.
    out.share(&file, HAND_ON)?;
    Ok(0)
}

fn read(initrd: &Region, offset: usize, len: usize) -> Result<File, Error> {
    // A file without bytes still needs a region.
    let region = Region::create(len.max(1) as u64)?;
    let archive = initrd.map(Rights::READ)?;
    let mut view = region.map(Rights::READ | Rights::WRITE)?;
    // SAFETY: nobody can write the initrd, nobody else has the new region, and both are there until the
    // end of this function.
    let (from, to) = unsafe {
        let from = archive.as_slice(archive.len() as usize);
        (from, view.as_mut_slice(len))
    };
    let from = from.get(offset..).and_then(|rest| rest.get(..len));
    let (Some(from), Some(to)) = (from, to) else {
        return Err(Error::Invalid);
    };
    to.copy_from_slice(from);
    drop(view);
    // SAFETY: the one mapping for writing is gone.
    unsafe { region.seal() }?;
    File::open(region, len as u64)
}
