//! Instructions by callgrind: this program runs itself under it, twice for each contender, and takes the difference.

use std::process::Command;

use crate::figure::{Figure, Measured, Row};

/// The arguments by which this program is told to run one contender so many times and to end.
pub const ALONE: &str = "--alone";
const FEW: u64 = 2_000;
const MANY: u64 = 6_000;

/// Instructions for sending and receiving one message in one thread, of all contenders of a row.
///
/// # Errors
/// In words: valgrind is not there, or says something else.
pub fn count(row: &Row) -> Result<Figure, String> {
    let measured = row.entries.iter().map(|entry| {
        let few = collected(entry.name, FEW)?;
        let many = collected(entry.name, MANY)?;
        if many <= few {
            return Err(format!("{} does nothing under callgrind", entry.name));
        }
        let each = (many - few) as f64 / (MANY - FEW) as f64;
        Ok(Measured::new(entry.name, entry.side, vec![each]))
    });
    Ok(Figure {
        key: row.key.clone(),
        measured: measured.collect::<Result<_, String>>()?,
    })
}

fn collected(name: &str, count: u64) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([ALONE, name, &count.to_string()])
        .output()
        .map_err(|error| format!("no instructions without valgrind: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    parse(&said).ok_or_else(|| format!("callgrind counted nothing: {said}"))
}

fn parse(said: &str) -> Option<u64> {
    let line = said.lines().find(|line| line.contains("Collected : "))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_in_what_callgrind_says() {
        let said = "==7== Events    : Ir\n==7== Collected : 1434\n==7==\n";
        assert_eq!(parse(said), Some(1434));
        assert_eq!(parse("==7== killed"), None);
    }
}
