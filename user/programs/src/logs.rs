//! What the log collector `logs` and its writers say to each other, and what the writers have to tell.
//!
//! A line is longer than a message: it goes as parts, each with the time at which the line was begun, its
//! number, its length, and how much of it came before. So a writer can end in the middle of a line, and
//! whoever reads knows that it did. What is done with the parts is in [`collector`], and with those
//! who come to send them in [`arrivals`].

pub mod arrivals;
pub mod collector;

use alloc::string::String;
use core::fmt::Write;

/// The name by which writers find the collector.
pub const NAME: &str = "logs";
/// Bytes of a slot of a writer's ring, and slots: few, so that writers wait for room, too.
pub const SLOT_SIZE: u32 = 64;
/// Slots of a writer's ring.
pub const SLOTS: u32 = 16;
/// The longest line, in bytes.
pub const MAX_LINE: usize = 240;

/// The first message of a writer: its number.
pub fn hello(writer: u32) -> [u8; 4] {
    writer.to_le_bytes()
}

/// The number of a writer, from its first message; `None` for what is none.
pub fn decode_hello(bytes: &[u8]) -> Option<usize> {
    let number = bytes.try_into().map(u32::from_le_bytes);
    number.ok().map(|number| number as usize)
}

/// The word of a writer's counts that tells how many lines it has begun.
pub const BEGUN: u64 = 0;
/// The word that tells how many it has sent.
pub const SENT: u64 = 1;
/// Bytes of a writer's counts.
pub const COUNTS: u64 = 16;

/// Bytes of what comes before the text of a part.
const HEAD: usize = 16;
/// Bytes of a part at most.
pub const MAX_PART: usize = SLOT_SIZE as usize - 8;
/// Bytes of text in every part of a line but the last.
pub const MAX_TEXT: usize = MAX_PART - HEAD;

/// A part of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// When the line was begun, in ns of the monotonic clock.
    pub time_ns: u64,
    /// The how manieth line of its writer it is, from 0 on.
    pub number: u32,
    /// Bytes of the whole line.
    pub len: u16,
    /// Bytes of the line before this part.
    pub offset: u16,
    /// As many bytes of it as fit.
    pub text: &'a [u8],
}

impl<'a> Part<'a> {
    /// As a message.
    pub fn encode<'b>(&self, buffer: &'b mut [u8; MAX_PART]) -> &'b [u8] {
        buffer[..8].copy_from_slice(&self.time_ns.to_le_bytes());
        buffer[8..12].copy_from_slice(&self.number.to_le_bytes());
        buffer[12..14].copy_from_slice(&self.len.to_le_bytes());
        buffer[14..HEAD].copy_from_slice(&self.offset.to_le_bytes());
        let end = HEAD + self.text.len().min(MAX_TEXT);
        buffer[HEAD..end].copy_from_slice(&self.text[..end - HEAD]);
        &buffer[..end]
    }

    /// From a message; `None` for what is no part of a line.
    pub fn decode(bytes: &'a [u8]) -> Option<Part<'a>> {
        let (time_ns, rest) = bytes.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        let (offset, text) = rest.split_first_chunk()?;
        let part = Part {
            time_ns: u64::from_le_bytes(*time_ns),
            number: u32::from_le_bytes(*number),
            len: u16::from_le_bytes(*len),
            offset: u16::from_le_bytes(*offset),
            text,
        };
        let left = usize::from(part.len).checked_sub(part.offset.into())?;
        let begins_in_order = usize::from(part.offset).is_multiple_of(MAX_TEXT);
        let is_empty = left == 0 && part.len > 0;
        let is_part = begins_in_order && !is_empty && text.len() == left.min(MAX_TEXT);
        (is_part && usize::from(part.len) <= MAX_LINE).then_some(part)
    }

    /// Whether the line ends with it.
    pub fn is_last(&self) -> bool {
        usize::from(self.offset) + self.text.len() == usize::from(self.len)
    }
}

/// The parts of a line, which is cut off behind [`MAX_LINE`] bytes. An empty line has one, too.
pub fn parts(time_ns: u64, number: u32, line: &[u8]) -> impl Iterator<Item = Part<'_>> {
    let line = &line[..line.len().min(MAX_LINE)];
    let offsets = (0..line.len().max(1)).step_by(MAX_TEXT);
    offsets.map(move |offset| Part {
        time_ns,
        number,
        len: line.len() as u16,
        offset: offset as u16,
        text: &line[offset..line.len().min(offset + MAX_TEXT)],
    })
}

/// What a writer has to tell in a line: it depends on both numbers alone, so that whoever receives it
/// knows whether it is all there.
pub fn line(writer: usize, number: u32) -> String {
    let mut random = fastrand::Rng::with_seed((writer as u64) << 32 | u64::from(number));
    let mut line = String::new();
    let took = random.u32(1..100_000);
    let _ = write!(line, "request {number} took {took} us");
    // Some have a long story to tell.
    for _ in 0..random.u32(0..24).saturating_sub(8) {
        let _ = write!(line, " +{:#x}", random.u16(..));
    }
    line.truncate(MAX_LINE);
    line
}
