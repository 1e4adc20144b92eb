//! What the programs of `search` do with a file, and what they say to each other about it.
//!
//! The file lies in one region that is sealed, so that whoever has it can rely on its bytes; what goes
//! through the rings are references into it. A part of the file ends where a line ends, however long
//! that is, so that a line is seen by one program alone.

mod file;
mod link;
mod message;
mod pipeline;
mod show;

use memchr::{memchr, memchr_iter};
use regex::bytes::{Regex, RegexBuilder};

use ring::sabotaged;

pub use file::{File, HAND_ON, READ};
pub use link::{Inlet, Outlet};
pub use message::{MAX_MESSAGE, Message};
pub use pipeline::{ROLES, Search};
pub use show::{SHOWN, Shown};

/// Matchers that the parts of a file are dealt to in turn.
pub const MATCHERS: usize = 2;
/// Bytes of a part, unless a line is longer.
pub const CHUNK: usize = 16 << 10;

/// Bytes of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// From the beginning of the file.
    pub offset: u64,
    /// How many.
    pub len: u64,
}

impl Span {
    /// The bytes, if the file has them.
    pub fn of(self, file: &[u8]) -> Option<&[u8]> {
        let start = usize::try_from(self.offset).ok()?;
        let len = usize::try_from(self.len).ok()?;
        file.get(start..start.checked_add(len)?)
    }
}

/// A part of the file: whole lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Where it is.
    pub span: Span,
    /// The number of its first line, from 1 on.
    pub first_line: u64,
    /// How many lines it has.
    pub lines: u64,
}

/// The parts of a file, of about `size` bytes. An empty file has none.
pub fn chunks(file: &[u8], size: usize) -> impl Iterator<Item = Chunk> {
    let (mut offset, mut first_line) = (0, 1);
    core::iter::from_fn(move || {
        let rest = file.get(offset..).filter(|rest| !rest.is_empty())?;
        let least = size.clamp(1, rest.len());
        // The last line may lack its end.
        let mut end = memchr(b'\n', &rest[least - 1..]).map_or(rest.len(), |at| least + at);
        if sabotaged!("search_cut_anywhere") {
            end = least;
        }
        let bytes = &rest[..end];
        let unended = u64::from(bytes.last() != Some(&b'\n'));
        let chunk = Chunk {
            span: Span {
                offset: offset as u64,
                len: end as u64,
            },
            first_line,
            lines: memchr_iter(b'\n', bytes).count() as u64 + unended,
        };
        offset += end;
        first_line += chunk.lines;
        Some(chunk)
    })
}

/// A line in which the pattern was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// Its number, from 1 on.
    pub line: u64,
    /// Where it is, without its end.
    pub span: Span,
}

/// The lines of a part in which the pattern is found. `bytes` are those of the part.
pub fn matches<'a>(
    regex: &'a Regex,
    chunk: &'a Chunk,
    bytes: &'a [u8],
) -> impl Iterator<Item = Match> + 'a {
    let mut offset = chunk.span.offset;
    let lines = bytes.split_inclusive(|&byte| byte == b'\n');
    lines
        .zip(chunk.first_line..)
        .filter_map(move |(line, number)| {
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            let span = Span {
                offset,
                len: text.len() as u64,
            };
            offset += line.len() as u64;
            regex.is_match(text).then_some(Match { line: number, span })
        })
}

/// A pattern, as it is looked for in bytes.
pub fn pattern(text: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text).unicode(false).build()
}
