//! The messages of `search`: a tag and up to four numbers.

use super::{Chunk, Match, Span};

/// Bytes of the longest message.
pub const MAX_MESSAGE: usize = 32;

/// What one program of `search` tells the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Here is the file: what to accept, and its length in bytes.
    File {
        /// The token of its region.
        token: u64,
        /// Its length in bytes.
        len: u64,
    },
    /// Look for the pattern here.
    Chunk(Chunk),
    /// The pattern is here.
    Match(Match),
    /// There is nothing more of the part.
    Done {
        /// Its lines.
        lines: u64,
        /// Those in which the pattern was found.
        matches: u64,
    },
    /// There are no more parts, and none is missing.
    End {
        /// How many there were, of all matchers.
        chunks: u64,
    },
}

impl Message {
    fn fields(&self) -> (u32, [u64; 4], usize) {
        match *self {
            Message::File { token, len } => (1, [token, len, 0, 0], 2),
            Message::Chunk(chunk) => {
                let Span { offset, len } = chunk.span;
                (2, [offset, len, chunk.first_line, chunk.lines], 4)
            }
            Message::Match(found) => (3, [found.line, found.span.offset, found.span.len, 0], 3),
            Message::Done { lines, matches } => (4, [lines, matches, 0, 0], 2),
            Message::End { chunks } => (5, [chunks, 0, 0, 0], 1),
        }
    }

    /// As a tag and bytes.
    pub fn encode<'a>(&self, buffer: &'a mut [u8; MAX_MESSAGE]) -> (u32, &'a [u8]) {
        let (tag, fields, count) = self.fields();
        for (bytes, field) in buffer.chunks_exact_mut(8).zip(fields) {
            bytes.copy_from_slice(&field.to_le_bytes());
        }
        (tag, &buffer[..count * 8])
    }

    /// From a tag and bytes; `None` for what is no message.
    pub fn decode(tag: u32, bytes: &[u8]) -> Option<Message> {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut fields = [0; 4];
        for (field, word) in fields.iter_mut().zip(words) {
            *field = u64::from_le_bytes(*word);
        }
        let [first, second, third, fourth] = fields;
        let message = match tag {
            1 => Message::File {
                token: first,
                len: second,
            },
            2 => Message::Chunk(Chunk {
                span: Span {
                    offset: first,
                    len: second,
                },
                first_line: third,
                lines: fourth,
            }),
            3 => Message::Match(Match {
                line: first,
                span: Span {
                    offset: second,
                    len: third,
                },
            }),
            4 => Message::Done {
                lines: first,
                matches: second,
            },
            5 => Message::End { chunks: first },
            _ => return None,
        };
        let (_, _, count) = message.fields();
        (rest.is_empty() && words.len() == count).then_some(message)
    }
}
