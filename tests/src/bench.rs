//! The guest benchmark: instruction counts against what they must be under.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::build;
use crate::console;
use crate::dear::{COLUMNS, Counts};
use crate::demo::grouped;
use crate::failure::Failure;
use crate::serial::{Record, Transcript};
use crate::table::{self, Align};
use crate::targets::{Place, TARGETS, Target};

/// Measured rows by key; each is the fields of a `#bench` line.
#[derive(Debug, Default)]
pub struct Measured {
    rows: BTreeMap<String, BTreeMap<String, u64>>,
    /// The numbers of CPUs that it was measured on.
    cpus: BTreeSet<u32>,
}

/// The printed table and the rows that missed their limit.
#[derive(Debug)]
pub struct Comparison {
    /// Key, measured, must, goal, best peer and the ratio to it.
    pub table: String,
    /// Everything that is wrong; empty when no limit was missed.
    pub problems: Vec<String>,
}

impl Measured {
    /// Takes the `#bench` lines of a run on so many CPUs. A key that is there already keeps its figures, so that
    /// a second run on more CPUs adds only what the first could not measure.
    pub fn add(&mut self, cpus: u32, transcript: &Transcript) {
        self.cpus.insert(cpus);
        let mut fresh: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for record in transcript.records("bench") {
            if let Some(key) = record.value("key") {
                fresh.insert(key.to_owned(), numbers(&record));
            }
        }
        for (key, fields) in fresh {
            self.rows.entry(key).or_insert(fields);
        }
    }

    /// Takes the dear instructions of the figures of a run. A line `#difference` says which figure
    /// is the share of each in what one has more than another.
    pub fn add_counts(&mut self, transcript: &Transcript, counted: &BTreeMap<String, Counts>) {
        let mut counted = counted.clone();
        for record in transcript.records("difference") {
            let counts = |name| counted.get(record.value(name)?);
            if let (Some(key), Some(of), Some(less), Some(each)) = (
                record.value("key"),
                counts("of"),
                counts("less"),
                record.number("each"),
            ) {
                let share = of.each_more_than(less, each);
                counted.insert(key.to_owned(), share);
            }
        }
        for (key, counts) in counted {
            if let Some(row) = self.rows.get_mut(&key) {
                row.insert("traced".into(), counts.traced);
                let names = COLUMNS.into_iter().map(str::to_owned);
                row.extend(names.zip(counts.columns()));
            }
        }
    }

    fn instructions(&self, key: &str) -> Option<u64> {
        self.rows.get(key)?.get("instructions").copied()
    }

    /// Whether one of the runs should have measured an operation.
    fn is_expected(&self, target: &Target) -> bool {
        match target.place() {
            Place::OneCpu => self.cpus.contains(&1),
            Place::SeveralCpus => self.cpus.iter().any(|&cpus| cpus > 1),
            Place::Anywhere => true,
        }
    }

    /// Compares with the targets; what has one and was not measured is a problem. The table has the dear instructions
    /// when `with_columns` says so.
    pub fn compare(&self, with_columns: bool) -> Comparison {
        let mut problems = Vec::new();
        let mut rows = Vec::new();
        for target in TARGETS {
            let measured = self.instructions(target.key);
            if let Some(measured) = measured.filter(|&measured| measured >= target.must) {
                problems.push(format!(
                    "{} costs {}; it must be under {}",
                    target.key,
                    grouped(measured),
                    grouped(target.must)
                ));
            }
            if measured.is_none() && self.is_expected(target) {
                problems.push(format!("{} was not measured", target.key));
            }
            rows.push(self.row(target, measured));
        }
        for key in self
            .rows
            .keys()
            .filter(|key| TARGETS.iter().all(|target| target.key != **key))
        {
            let measured = self
                .instructions(key)
                .map_or("not measured".to_owned(), grouped);
            let mut cells = vec![key.clone(), measured];
            cells.resize(HEAD.len(), String::new());
            rows.push(self.with_counts(key, cells));
        }
        if self.rows.is_empty() {
            problems.push("the benchmark measured nothing".into());
        }
        let mut head = HEAD.to_vec();
        if with_columns {
            head.extend(COLUMNS.map(|column| (column, Align::Right)));
        }
        for row in &mut rows {
            row.truncate(head.len());
        }
        Comparison {
            table: table::render(&head, &rows),
            problems,
        }
    }

    /// One JSON object for each target that was measured, and for each further key.
    pub fn to_json(&self) -> Value {
        let known = TARGETS.iter().map(|target| target.key);
        let further = self.rows.keys().map(String::as_str);
        let further = further.filter(|key| TARGETS.iter().all(|target| target.key != *key));
        known
            .chain(further)
            .filter_map(|key| self.object(key))
            .collect()
    }

    fn object(&self, key: &str) -> Option<Value> {
        let mut object = Map::new();
        object.insert("key".into(), key.into());
        if let Some(target) = TARGETS.iter().find(|target| target.key == key) {
            object.insert("must".into(), target.must.into());
            object.insert("goal".into(), target.goal.into());
            let peers: Map<_, _> = target
                .peers
                .iter()
                .map(|&(name, cost)| (name.to_owned(), cost.into()))
                .collect();
            object.insert("peers".into(), peers.into());
        }
        // What was not counted is not known, which is not none.
        for column in COLUMNS {
            object.insert(column.into(), Value::Null);
        }
        for (name, number) in self.rows.get(key)? {
            object.insert(name.clone(), json!(number));
        }
        Some(object.into())
    }

    fn row(&self, target: &Target, measured: Option<u64>) -> Vec<String> {
        let peer = target.best_peer();
        let ratio = match (measured, peer) {
            (Some(measured), Some((_, cost))) => format!("{:.2}", measured as f64 / cost as f64),
            _ => String::new(),
        };
        let cells = vec![
            target.key.to_owned(),
            measured.map_or("not measured".to_owned(), grouped),
            grouped(target.must),
            grouped(target.goal),
            peer.map_or("none".to_owned(), |(name, cost)| {
                format!("{name} {}", grouped(cost))
            }),
            ratio,
        ];
        self.with_counts(target.key, cells)
    }

    fn with_counts(&self, key: &str, mut cells: Vec<String>) -> Vec<String> {
        let count = |column: &str| self.rows.get(key)?.get(column).copied();
        cells.extend(COLUMNS.map(|column| count(column).map_or(String::new(), grouped)));
        cells
    }
}

/// What to say when the benchmark has checked its clock and begins, which takes a while.
pub fn begins(line: &str, cpus: u32) -> Option<String> {
    let record = Record::parse(line).filter(|record| record.kind == "calibration")?;
    let (expected, read) = (record.number("expected")?, record.number("instructions")?);
    Some(format!(
        "a loop of {} instructions counts {}; measuring on {} …",
        grouped(expected),
        grouped(read),
        console::counted(cpus, "CPU")
    ))
}

/// Writes figures to a file in `target/bench` and answers where it is.
///
/// # Errors
/// When it can't be written.
pub fn write(name: &str, figures: &Value) -> Result<PathBuf, Failure> {
    let relative = Path::new("target/bench").join(name);
    let path = build::repository().join(&relative);
    let text = format!("{figures:#}\n");
    path.parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::write(&path, text))
        .map_err(|error| {
            Failure::failed(format!("{} can't be written: {error}", path.display()))
        })?;
    Ok(relative)
}

const HEAD: [(&str, Align); 6] = [
    ("key", Align::Left),
    ("measured", Align::Right),
    ("must be under", Align::Right),
    ("goal", Align::Right),
    ("best peer", Align::Right),
    ("ratio", Align::Right),
];

fn numbers(record: &Record<'_>) -> BTreeMap<String, u64> {
    let keys = record.pairs().map(|(key, _)| key);
    keys.filter_map(|key| Some((key.to_owned(), record.number(key)?)))
        .collect()
}
