//! The demonstration: one file, four ways from one program to another, each checked.
//!
//! The machine says what arrived (`#way`), that the sender lost what it moved (`#fault`) and where
//! the programs ran (`#placed`). It is believed only where the digest is the one computed here.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::machine::{InstructionCount, Machine};
use crate::serial::{Record, Transcript};
use crate::table::{self, Align};

/// The ways from producer to consumer, in the order of the table.
pub const WAYS: [&str; 4] = ["ring", "share", "copy", "move"];

/// What is wrong with a demonstration, and what to print about it.
#[derive(Debug)]
pub struct Verdict {
    /// The table of ways.
    pub table: String,
    /// A line about the sender's fault after Move.
    pub fault: String,
    /// Everything that is wrong; empty when all is well.
    pub problems: Vec<String>,
}

/// SHA-256 as lower-case hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// `number` with its digits in groups of three.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Judges the transcript of a demonstration with `input` on a machine.
pub fn judge(transcript: &Transcript, input: &[u8], machine: &Machine) -> Verdict {
    let expected = digest(input);
    let mut problems = Vec::new();
    let mut rows = Vec::new();
    for way in WAYS {
        let mut records = transcript
            .records("way")
            .filter(|row| row.value("name") == Some(way));
        match (records.next(), records.next()) {
            (None, _) => problems.push(format!("nothing arrived by {way}")),
            (Some(_), Some(_)) => problems.push(format!("{way} was reported more than once")),
            (Some(record), None) => {
                rows.push(way_row(
                    way,
                    &record,
                    input.len() as u64,
                    &expected,
                    &mut problems,
                ));
            }
        }
    }
    let fault = judge_fault(transcript, &mut problems);
    judge_placement(transcript, machine.cpus, &mut problems);
    let counter = match machine.instruction_count {
        InstructionCount::On => "instructions",
        // The time-stamp counter counts time then, not work.
        InstructionCount::Off => "clock ticks",
    };
    let head = [
        ("way", Align::Left),
        ("bytes", Align::Right),
        ("kernel entries", Align::Right),
        (counter, Align::Right),
        ("digest", Align::Left),
    ];
    Verdict {
        table: table::render(&head, &rows),
        fault,
        problems,
    }
}

fn way_row(
    way: &str,
    record: &Record<'_>,
    expected_bytes: u64,
    expected_digest: &str,
    problems: &mut Vec<String>,
) -> Vec<String> {
    let bytes = record.number("bytes");
    let is_whole = bytes == Some(expected_bytes);
    if !is_whole {
        problems.push(format!(
            "{way} brought another length than {} bytes",
            grouped(expected_bytes)
        ));
    }
    let digest_text = match record.value("sha256") {
        Some(digest) if digest == expected_digest => format!("ok {}…", &expected_digest[..16]),
        Some(_) => {
            // Another length explains another digest.
            if is_whole {
                problems.push(format!(
                    "{way} brought other bytes: the digest is not {expected_digest}"
                ));
            }
            "WRONG".to_owned()
        }
        None => {
            problems.push(format!("{way} brought no digest"));
            "missing".to_owned()
        }
    };
    let mut count = |key: &str| match record.number(key) {
        Some(number) => grouped(number),
        None => {
            problems.push(format!("{way} was reported without {key}"));
            "?".to_owned()
        }
    };
    let (entries, instructions) = (count("entries"), count("instructions"));
    vec![
        way.to_owned(),
        bytes.map_or("?".to_owned(), grouped),
        entries,
        instructions,
        digest_text,
    ]
}

fn judge_fault(transcript: &Transcript, problems: &mut Vec<String>) -> String {
    let fault = transcript
        .records("fault")
        .find(|record| record.word(1) == Some("ok"));
    match fault.as_ref().and_then(|record| record.value("addr")) {
        Some(address) => {
            format!("after move the producer's own access at {address} faulted, as it must")
        }
        None => {
            problems.push("the producer could still reach what it had moved away".into());
            "after move no fault of the producer was seen".into()
        }
    }
}

fn judge_placement(transcript: &Transcript, cpus: u32, problems: &mut Vec<String>) {
    if cpus < 2 {
        return;
    }
    let placed = transcript.records("placed").next();
    let place = |key| placed.as_ref().and_then(|record| record.number(key));
    match (place("producer"), place("consumer")) {
        (Some(producer), Some(consumer)) if producer != consumer => {}
        (Some(producer), Some(_)) => {
            problems.push(format!("producer and consumer both ran on CPU {producer}"));
        }
        _ => problems.push("nobody said on which CPUs producer and consumer ran".into()),
    }
}
