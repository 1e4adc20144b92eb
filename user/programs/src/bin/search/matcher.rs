//! Looks for the pattern in the parts of the file that it is told of.
//!
//! Argument: the pattern. Handles: the ring from the splitter, and the one to the collector.

use programs::search::{Message, matches, pattern};
use rt::{Env, Error};

use crate::file::READ;
use crate::link::{Inlet, Outlet};

pub fn run(env: &Env) -> Result<u8, Error> {
    let text = env.args().nth(1).unwrap_or_default();
    let regex = pattern(text).map_err(|_| Error::Invalid)?;
    let mut parts = Inlet::open(env.handle(0))?;
    let mut found = Outlet::open(env.handle(1))?;
    let file = parts.file()?;
    found.share(&file, READ)?;
    loop {
        match parts.next()? {
            Message::Chunk(chunk) => {
                let bytes = chunk.span.of(file.bytes()).ok_or(Error::PeerFault)?;
                let mut count = 0;
                for line in matches(&regex, &chunk, bytes) {
                    found.send(&Message::Match(line))?;
                    count += 1;
                }
                found.send(&Message::Done {
                    lines: chunk.lines,
                    matches: count,
                })?;
            }
            end @ Message::End { .. } => {
                found.send(&end)?;
                found.outlast()?;
                return Ok(0);
            }
            _ => return Err(Error::PeerFault),
        }
    }
}
