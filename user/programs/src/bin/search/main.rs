//! Finds the lines of the input in which a pattern is, by five processes: a reader has the file in a
//! region, a splitter cuts it into parts, two matchers look for the pattern, and a collector puts what
//! they find back into order and prints it. References into the region go through the rings between
//! them; the region itself is handed on once, by capability.
//!
//! Arguments: the pattern, and which file of the initrd if it is not the input. Handles: the initrd. The status is
//! that of `grep`: 0 when there was a line, 1 when there was none, 2 when something went wrong. The program starts
//! itself under the names of the others, and waits for them.

#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod collector;
mod matcher;
mod reader;
mod splitter;

use alloc::string::ToString;
use alloc::vec::Vec;

use programs::search::{ROLES, Search, pattern};
use programs::{archive, expect};
use rt::{Env, Error, FOREVER, ProcessStatus, Region, Spawn, println};

rt::entry!(run);

/// No line was found.
const NOT_FOUND: u8 = 1;
/// Something went wrong, and was told.
const FAILED: u8 = 2;
/// A neighbour ended before it was done.
const LEFT_ALONE: u8 = 3;

fn run(env: &Env) -> u8 {
    let role = env.args().next().unwrap_or_default();
    let done = match role {
        "reader" => reader::run(env),
        "splitter" => splitter::run(env),
        "matcher" => matcher::run(env),
        "collector" => collector::run(env),
        _ => return start(env),
    };
    match done {
        Ok(status) => status,
        Err(Error::PeerClosed) => LEFT_ALONE,
        Err(error) => {
            println!("search: the {role}: {error}");
            FAILED
        }
    }
}

/// Starts the others, and says how it went.
fn start(env: &Env) -> u8 {
    let mut args = env.args().skip(1);
    let (text, name, None) = (args.next(), args.next(), args.next()) else {
        return usage();
    };
    let Some(text) = text.filter(|text| !text.starts_with("--")) else {
        return usage();
    };
    let name = name.unwrap_or("input");
    if let Err(error) = pattern(text) {
        let error = error.to_string();
        let why = error.lines().last().unwrap_or_default();
        println!("search: bad pattern: {}", why.trim_start_matches("error: "));
        return FAILED;
    }
    let initrd = Region::from_handle(env.handle(0));
    let file = match archive::place(&initrd, name) {
        Ok(file) => file,
        Err(error) => {
            println!("search: the file `{name}`: {error}");
            return FAILED;
        }
    };
    let image = archive::image(&initrd, "search");
    let search = Search {
        image: expect!(image, "search: the program"),
        initrd: initrd.handle(),
        offset: &file.offset.to_string(),
        len: &file.len.to_string(),
        text,
    };
    let processes = expect!(search.processes(), "search: a ring");
    let started = processes.into_iter().map(Spawn::start);
    let started: Result<Vec<_>, Error> = started.collect();
    let processes = expect!(started, "search: starting a process");
    let mut status = 0;
    for (role, process) in ROLES.into_iter().zip(processes) {
        let ended = expect!(process.wait(FOREVER), "search: waiting for the {role}");
        status = worse(status, role, &ended);
    }
    status
}

fn usage() -> u8 {
    println!(
        "search: needs a pattern: search PATTERN [FILE] looks for it in the lines of the input, or of a file of the initrd"
    );
    FAILED
}

/// The status of the program when one of its processes has ended like this, which is said if nobody
/// else has.
fn worse(status: u8, role: &str, ended: &ProcessStatus) -> u8 {
    match ended.exited().map(|exited| exited as u8) {
        Some(0) => status,
        Some(NOT_FOUND) if role == "collector" => status.max(NOT_FOUND),
        Some(LEFT_ALONE | FAILED) => FAILED,
        Some(status) => {
            println!("search: the {role} ended with status {status}");
            FAILED
        }
        None => {
            println!("search: the {role} was killed");
            FAILED
        }
    }
}
