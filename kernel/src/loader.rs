//! From an ELF file in a region to an image.
//!
//! The bytes belong to a program, so nothing in them is believed: headers are copied out before
//! they are looked at, every sum is checked, and the region can't change meanwhile because it is
//! sealed (rule S17).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use abi::Error;
use abi::limits::{LEAF_SIZE, MAX_IMAGE_SPAN, PAGE_SIZE, USER_END, USER_START};
use elf::abi as format;
use elf::endian::LittleEndian;
use elf::file::{Class, FileHeader, parse_ident};
use elf::segment::{ProgramHeader, SegmentTable};
use ipc::ImageInfo;
use mm::{Account, PageAttributes, Region};

use crate::machine::ipc;

/// Program headers that a file may have.
const MAX_PROGRAM_HEADERS: u16 = 64;

/// Bytes of an ELF64 file header and of a program header.
const FILE_HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;

/// Where a position-independent executable is placed.
const PIE_BASE: u64 = 1 << 30;

/// Part of a region that holds a file.
struct File<'a> {
    region: &'a Region,
    offset: u64,
    len: u64,
}

impl File<'_> {
    /// Copies bytes out. `Invalid`: the file is shorter.
    fn read(&self, at: u64, bytes: &mut [u8]) -> Result<(), Error> {
        let end = at.checked_add(bytes.len() as u64).ok_or(Error::Invalid)?;
        if end > self.len {
            return Err(Error::Invalid);
        }
        ipc()
            .memory()
            .read_region(self.region, self.offset + at, bytes)
    }
}

/// Makes an image of the executable in `len` bytes of a region. `account` pays for it.
///
/// `Unsupported`: the region is not sealed; `Range`: the bytes reach past its end; `Invalid`: they
/// are not a static ELF64 executable for x86_64, or its segments overlap, leave the user half, or
/// are writable and executable; `TooLarge`: they span more than 1 GiB; `Quota`, `NoMemory`.
pub fn load(
    account: &Arc<Account>,
    region: &Region,
    offset: u64,
    len: u64,
) -> Result<(Arc<Region>, ImageInfo), Error> {
    if !region.is_sealed() {
        return Err(Error::Unsupported);
    }
    if offset.checked_add(len).is_none_or(|end| end > region.len()) {
        return Err(Error::Range);
    }
    let file = File {
        region,
        offset,
        len,
    };
    let header = read_header(&file)?;
    let bias = match header.e_type {
        format::ET_EXEC => 0,
        format::ET_DYN => PIE_BASE,
        _ => return Err(Error::Invalid),
    };
    let segments = read_segments(&file, &header, bias)?;
    let span = check_segments(&segments, len)?;
    let entry = header.e_entry.checked_add(bias).ok_or(Error::Invalid)?;
    if !segments
        .iter()
        .any(|s| s.execute && s.memory.contains(&entry))
    {
        return Err(Error::Invalid);
    }
    let memory = ipc().memory();
    let base = span.start & !(LEAF_SIZE - 1);
    let image = memory.create_image(account, span.end - base)?;
    for segment in &segments {
        if let Err(error) = load_segment(&file, &image, base, segment) {
            memory.destroy_region(&image);
            return Err(error);
        }
    }
    memory.finish_image(&image);
    Ok((image, ImageInfo { base, entry }))
}

fn read_header(file: &File) -> Result<FileHeader<LittleEndian>, Error> {
    let mut bytes = [0; FILE_HEADER];
    file.read(0, &mut bytes)?;
    let ident = parse_ident(&bytes).map_err(|_| Error::Invalid)?;
    let tail = &bytes[format::EI_NIDENT..];
    let header = FileHeader::parse_tail(ident, tail).map_err(|_| Error::Invalid)?;
    let expected = header.class == Class::ELF64
        && header.e_machine == format::EM_X86_64
        && header.e_phentsize as usize == PROGRAM_HEADER
        && (1..=MAX_PROGRAM_HEADERS).contains(&header.e_phnum);
    if expected {
        Ok(header)
    } else {
        Err(Error::Invalid)
    }
}

/// A segment as it will be in memory.
struct Segment {
    memory: Range<u64>,
    file: Range<u64>,
    write: bool,
    execute: bool,
}

impl Segment {
    fn new(header: &ProgramHeader, bias: u64) -> Option<Segment> {
        let start = header.p_vaddr.checked_add(bias)?;
        Some(Segment {
            memory: start..start.checked_add(header.p_memsz)?,
            file: header.p_offset..header.p_offset.checked_add(header.p_filesz)?,
            write: header.p_flags & format::PF_W != 0,
            execute: header.p_flags & format::PF_X != 0,
        })
    }
}

/// The segments that are to be in memory. `Invalid`: one asks for a dynamic linker, or its sums
/// overflow.
fn read_segments(
    file: &File,
    header: &FileHeader<LittleEndian>,
    bias: u64,
) -> Result<Vec<Segment>, Error> {
    let mut bytes = zeros(header.e_phnum as usize * PROGRAM_HEADER)?;
    file.read(header.e_phoff, &mut bytes)?;
    let mut segments = mm::room_for(header.e_phnum as usize)?;
    for header in SegmentTable::new(LittleEndian, Class::ELF64, &bytes) {
        match header.p_type {
            format::PT_INTERP => return Err(Error::Invalid),
            format::PT_LOAD if header.p_memsz > 0 => {
                segments.push(Segment::new(&header, bias).ok_or(Error::Invalid)?);
            }
            _ => {}
        }
    }
    Ok(segments)
}

/// Checks each segment and every pair, and returns the addresses from the first to the last.
fn check_segments(segments: &[Segment], file_len: u64) -> Result<Range<u64>, Error> {
    for (index, segment) in segments.iter().enumerate() {
        let overlaps = segments[..index].iter().any(|other| {
            segment.memory.start < other.memory.end && other.memory.start < segment.memory.end
        });
        let in_file = segment.file.end <= file_len;
        let bytes = segment.file.end - segment.file.start;
        let in_memory = bytes <= segment.memory.end - segment.memory.start;
        let in_user_half = segment.memory.start >= USER_START && segment.memory.end <= USER_END;
        let one_of_both = !(segment.write && segment.execute);
        if overlaps || !in_file || !in_memory || !in_user_half || !one_of_both {
            return Err(Error::Invalid);
        }
    }
    let start = segments.iter().map(|s| s.memory.start).min();
    let end = segments.iter().map(|s| s.memory.end).max();
    let (Some(start), Some(end)) = (start, end) else {
        return Err(Error::Invalid);
    };
    if end - (start & !(LEAF_SIZE - 1)) > MAX_IMAGE_SPAN {
        return Err(Error::TooLarge);
    }
    Ok(start..end)
}

/// So many bytes, which may be too many for what can't fail.
fn zeros(count: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = mm::room_for(count)?;
    bytes.resize(count, 0);
    Ok(bytes)
}

/// Defines the pages of a segment and copies its bytes in, a page at a time.
fn load_segment(file: &File, image: &Region, base: u64, segment: &Segment) -> Result<(), Error> {
    let memory = ipc().memory();
    let attributes = PageAttributes {
        write: segment.write,
        execute: segment.execute,
    };
    let start = segment.memory.start - base;
    let end = segment.memory.end - base;
    for page in start / PAGE_SIZE..end.div_ceil(PAGE_SIZE) {
        memory.define_page(image, page, attributes)?;
    }
    let mut buffer = zeros(PAGE_SIZE as usize)?;
    let mut at = segment.file.start;
    while at < segment.file.end {
        let len = PAGE_SIZE.min(segment.file.end - at) as usize;
        file.read(at, &mut buffer[..len])?;
        memory.load_image(image, start + (at - segment.file.start), &buffer[..len])?;
        at += len as u64;
    }
    Ok(())
}
