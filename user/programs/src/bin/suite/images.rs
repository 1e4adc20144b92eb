//! Files that are no programs. Each is made of the good one by a change.

use abi::limits::LEAF_SIZE;
use programs::archive;
use rt::{Error, Handle, Region, Rights};

use crate::Case;
use crate::calls::{READ_WRITE, cap_drop, image_create, map_all, region_seal};

/// The fields of an ELF64 file and program header (ELF gABI).
mod field {
    pub const CLASS: usize = 4;
    pub const TYPE: usize = 16;
    pub const MACHINE: usize = 18;
    pub const ENTRY: usize = 24;
    pub const PROGRAM_HEADERS: usize = 32;
    pub const PROGRAM_HEADER_SIZE: usize = 54;
    pub const PROGRAM_HEADER_COUNT: usize = 56;

    pub const SEGMENT_FLAGS: usize = 4;
    pub const SEGMENT_OFFSET: usize = 8;
    pub const SEGMENT_ADDRESS: usize = 16;
    pub const SEGMENT_FILE_SIZE: usize = 32;
    pub const SEGMENT_MEMORY_SIZE: usize = 40;
}

const PROGRAM_HEADER: usize = 56;
const LOAD: u32 = 1;
const EXECUTE: u32 = 1;
const WRITE: u32 = 2;

/// The bytes of a program that can be started.
struct Good {
    bytes: &'static [u8],
}

impl Good {
    fn new(case: &Case) -> Good {
        let initrd = Region::from_handle(case.initrd);
        let view = done!(initrd.map(Rights::READ), "mapping the initrd");
        // SAFETY: nobody can write the initrd, and the mapping is never removed.
        let all: &'static [u8] = unsafe {
            core::slice::from_raw_parts(view.address() as *const u8, view.len() as usize)
        };
        core::mem::forget((initrd, view));
        let place = done!(
            archive::find(all, "consumer").ok_or(Error::NotFound),
            "a program in the initrd"
        );
        let start = place.offset as usize;
        let file = Good {
            bytes: &all[start..start + place.len as usize],
        };
        // What follows the last segment is for debuggers.
        Good {
            bytes: &file.bytes[..file.end_of_segments()],
        }
    }

    fn word(&self, at: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.bytes[at..at + 8]);
        u64::from_le_bytes(bytes)
    }

    /// Where the headers of the segments to load are.
    fn loads(&self) -> impl Iterator<Item = usize> + '_ {
        let first = self.word(field::PROGRAM_HEADERS) as usize;
        let count = self.bytes[field::PROGRAM_HEADER_COUNT] as usize;
        (0..count)
            .map(move |index| first + index * PROGRAM_HEADER)
            .filter(|&at| self.word(at) as u32 == LOAD)
    }

    /// Where the bytes of the last segment to load end.
    fn end_of_segments(&self) -> usize {
        let end =
            |at| self.word(at + field::SEGMENT_OFFSET) + self.word(at + field::SEGMENT_FILE_SIZE);
        self.loads().map(end).max().unwrap_or(0) as usize
    }

    /// The first segment to load with a flag.
    fn load_with(&self, flag: u32) -> usize {
        let found = self
            .loads()
            .find(|&at| (self.word(at) >> 32) as u32 & flag != 0);
        done!(found.ok_or(Error::NotFound), "a segment with flag {flag}")
    }

    /// Makes an image of the first `len` bytes with some of them changed.
    fn changed(&self, len: usize, changes: &[(usize, &[u8])]) -> Result<Handle, Error> {
        let file = Copy::of(self.bytes);
        for &(at, bytes) in changes {
            file.write(at, bytes);
        }
        file.image(len as u64)
    }

    /// An image with one change is refused.
    fn refused(&self, at: usize, bytes: &[u8], what: &str) {
        refused!(
            self.changed(self.bytes.len(), &[(at, bytes)]),
            Error::Invalid,
            "{what}"
        );
    }
}

/// A copy in a region, gone with it.
struct Copy {
    region: Region,
    start: u64,
}

impl Copy {
    fn of(bytes: &[u8]) -> Copy {
        let region = done!(Region::create(bytes.len() as u64), "a region");
        let start = map_all(region.handle(), READ_WRITE);
        let copy = Copy { region, start };
        copy.write(0, bytes);
        copy
    }

    fn write(&self, at: usize, bytes: &[u8]) {
        // SAFETY: the region is this case's alone, and no reference to it exists.
        unsafe {
            core::ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                (self.start as usize + at) as *mut u8,
                bytes.len(),
            );
        }
    }

    fn image(&self, len: u64) -> Result<Handle, Error> {
        done!(region_seal(self.region.handle()), "sealing");
        image_create(self.region.handle(), 0, len)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        done!(crate::calls::unmap(self.start), "unmapping");
    }
}

pub fn truncated(case: &Case) {
    let good = Good::new(case);
    let all = good.bytes.len();
    done!(
        good.changed(all, &[]).and_then(cap_drop),
        "the good program"
    );
    for len in [0, 1, 4, 16, 63, 64, 65, 119, 120, 200, 4096, all - 1] {
        refused!(good.changed(len, &[]), Error::Invalid, "{len} bytes");
    }
    refused!(
        good.changed(all + LEAF_SIZE as usize, &[]),
        Error::Range,
        "more than the region has"
    );
    refused!(
        good.changed(usize::MAX, &[]),
        Error::Range,
        "a length that overflows"
    );
}

pub fn header(case: &Case) {
    let good = Good::new(case);
    good.refused(0, b"\x7fELG", "another magic number");
    good.refused(field::CLASS, &[1], "a 32-bit file");
    good.refused(field::CLASS + 1, &[2], "a big-endian file");
    for (kind, what) in [(0u16, "no file"), (1, "an object file"), (4, "a core file")] {
        good.refused(field::TYPE, &kind.to_le_bytes(), what);
    }
    for machine in [0u16, 3, 40, 183, 243, u16::MAX] {
        good.refused(field::MACHINE, &machine.to_le_bytes(), "another machine");
    }
    for size in [0u16, 32, 55, 57, u16::MAX] {
        good.refused(
            field::PROGRAM_HEADER_SIZE,
            &size.to_le_bytes(),
            "headers of another size",
        );
    }
    for count in [0u16, 65, 0x7fff, u16::MAX] {
        good.refused(
            field::PROGRAM_HEADER_COUNT,
            &count.to_le_bytes(),
            "an impossible number of headers",
        );
    }
    for offset in [u64::MAX, u64::MAX - 55, 1 << 63, good.bytes.len() as u64] {
        good.refused(
            field::PROGRAM_HEADERS,
            &offset.to_le_bytes(),
            "headers outside of the file",
        );
    }
}

pub fn segments(case: &Case) {
    let good = Good::new(case);
    let (text, data) = (good.load_with(EXECUTE), good.load_with(WRITE));
    good.refused(
        text + field::SEGMENT_FLAGS,
        &7u32.to_le_bytes(),
        "a segment that is writable and executable",
    );
    let text_address = good.word(text + field::SEGMENT_ADDRESS);
    good.refused(
        data + field::SEGMENT_ADDRESS,
        &text_address.to_le_bytes(),
        "segments that overlap",
    );
    for address in [
        0,
        0x1000,
        1 << 47,
        (1u64 << 47) - 4096,
        0xffff_8000_0000_0000,
        0xffff_ffff_8000_0000,
        u64::MAX - 4095,
    ] {
        good.refused(
            data + field::SEGMENT_ADDRESS,
            &address.to_le_bytes(),
            "a segment outside of the user half",
        );
    }
    for size in [u64::MAX, 1 << 63, good.bytes.len() as u64 + 1] {
        good.refused(
            data + field::SEGMENT_FILE_SIZE,
            &size.to_le_bytes(),
            "a segment longer than the file",
        );
        good.refused(
            text + field::SEGMENT_OFFSET,
            &size.to_le_bytes(),
            "a segment behind the file",
        );
    }
    good.refused(
        text + field::SEGMENT_MEMORY_SIZE,
        &1u64.to_le_bytes(),
        "a segment larger in the file than in memory",
    );
    good.refused(
        data + field::SEGMENT_MEMORY_SIZE,
        &u64::MAX.to_le_bytes(),
        "a size that overflows",
    );
    let last = done!(good.loads().last().ok_or(Error::NotFound), "a segment");
    let answer = good.changed(
        good.bytes.len(),
        &[(
            last + field::SEGMENT_MEMORY_SIZE,
            &(2u64 << 30).to_le_bytes(),
        )],
    );
    refused!(answer, Error::TooLarge, "a segment of 2 GiB");
    // The dynamic linker is nowhere.
    good.refused(text, &3u32.to_le_bytes(), "a file that asks for a linker");
}

pub fn entry(case: &Case) {
    let good = Good::new(case);
    let data = good.word(good.load_with(WRITE) + field::SEGMENT_ADDRESS);
    for entry in [0, 1, data, 1 << 47, 0xffff_8000_0000_0000, u64::MAX] {
        good.refused(
            field::ENTRY,
            &entry.to_le_bytes(),
            "an entry that is no code",
        );
    }
}

pub fn not_sealed(case: &Case) {
    let good = Good::new(case);
    let file = Copy::of(good.bytes);
    refused!(
        image_create(file.region.handle(), 0, good.bytes.len() as u64),
        Error::Unsupported,
        "a region that can be written"
    );
    let image = done!(file.image(good.bytes.len() as u64), "the same, sealed");
    done!(cap_drop(image), "dropping");
}

pub fn every_byte(case: &Case) {
    let good = Good::new(case);
    let headers = good.word(field::PROGRAM_HEADERS) as usize
        + good.bytes[field::PROGRAM_HEADER_COUNT] as usize * PROGRAM_HEADER;
    // The segments themselves are not looked at: a short file is enough, and refused later.
    for at in 0..headers {
        for flip in [0x01u8, 0x80, 0xff] {
            let changed = [good.bytes[at] ^ flip];
            if let Ok(image) = good.changed(good.bytes.len(), &[(at, &changed)]) {
                done!(cap_drop(image), "dropping");
            }
        }
    }
}
