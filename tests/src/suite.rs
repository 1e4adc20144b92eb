//! The guest suites: each case is a fresh process in the machine and reports one line.

use crate::console;
use crate::serial::{Record, Transcript};

/// The line for the person about a `#case` line; `None` for any other line.
pub fn case_line(line: &str) -> Option<String> {
    let record = Record::parse(line).filter(|record| record.kind == "case")?;
    let id = record.word(0)?;
    let status = match record.value("status")? {
        "ok" => console::good("ok     "),
        "listed" => "       ".to_owned(),
        "timeout" => console::bad("TIMEOUT"),
        _ => console::bad("FAILED "),
    };
    Some(
        format!("{status} {id:<32} {}", record.text_from(2))
            .trim_end()
            .to_owned(),
    )
}

/// What is wrong with the transcript of a suite; empty when every case passed.
pub fn judge(transcript: &Transcript) -> Vec<String> {
    let mut problems: Vec<String> = transcript
        .records("case")
        .filter(|record| record.value("status") != Some("ok"))
        .map(|record| {
            let id = record.word(0).unwrap_or("a case without a name");
            format!("{id}: {}", record.value("status").unwrap_or("no status"))
        })
        .collect();
    let cases = transcript.records("case").count() as u64;
    let summary = transcript.records("suite").last();
    let number = |key| summary.as_ref().and_then(|record| record.number(key));
    match (number("passed"), number("failed")) {
        (Some(0), Some(0)) => problems.push("no case has a name like this".into()),
        (Some(passed), Some(failed)) if passed + failed != cases => {
            problems.push(format!(
                "{cases} cases reported, but {} counted",
                passed + failed
            ));
        }
        (Some(_), Some(failed)) if failed > 0 && problems.is_empty() => {
            problems.push(format!("{failed} cases failed"));
        }
        (Some(_), Some(_)) => {}
        _ => problems.push("the suite ended without its summary".into()),
    }
    problems
}

/// The sentence about a suite in which all is well.
pub fn summary(transcript: &Transcript) -> String {
    format!("{} cases passed", transcript.records("case").count())
}
