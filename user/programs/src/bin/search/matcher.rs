//! Looks for the pattern in the parts of the file that it is told of.
//!
//! Argument: the pattern. Handles: the ring from the splitter, and the one to the collector.

use programs::search::{Inlet, Message, Outlet, READ, matches, pattern};
use rt::{Env, Error};

pub fn run(env: &Env) -> Result<u8, Error> {
    let text = env.args().nth(1).unwrap_or_default();
    let regex = pattern(text).map_err(|_| Error::Invalid)?;
    let mut parts = Inlet::open(env.handle(0))?;
    let mut found = Outlet::open(env.handle(1))?;
    let file = parts.file()?;
    found.share(&file, READ)?;
    loop {
        match parts.receive()? {
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
                return Ok(0);
            }
            _ => return Err(Error::PeerFault),
        }
    }
}
