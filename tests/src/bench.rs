//! The guest benchmark: instruction counts against what they must be under.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::build;
use crate::demo::grouped;
use crate::failure::Failure;
use crate::serial::{Record, Transcript};
use crate::table::{self, Align};
use crate::targets::{TARGETS, Target};

/// Measured rows by key; each is the fields of a `#bench` line.
#[derive(Debug, Default)]
pub struct Measured {
    rows: BTreeMap<String, BTreeMap<String, u64>>,
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
    /// Takes the `#bench` lines of a run. A key that is there already keeps its figures, so that
    /// a second run on more CPUs adds only what the first could not measure.
    pub fn add(&mut self, transcript: &Transcript) {
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

    fn instructions(&self, key: &str) -> Option<u64> {
        self.rows.get(key)?.get("instructions").copied()
    }

    /// Compares with the targets.
    pub fn compare(&self) -> Comparison {
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
            rows.push(row(target, measured));
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
            rows.push(cells);
        }
        if self.rows.is_empty() {
            problems.push("the benchmark measured nothing".into());
        }
        Comparison {
            table: table::render(&HEAD, &rows),
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
        for (name, number) in self.rows.get(key)? {
            object.insert(name.clone(), json!(number));
        }
        Some(object.into())
    }

    /// Writes `target/bench/guest.json` and answers where it is.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(&self) -> Result<PathBuf, Failure> {
        let path = build::repository().join("target/bench/guest.json");
        let text = format!("{:#}\n", self.to_json());
        path.parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(&path, text))
            .map_err(|error| {
                Failure::failed(format!("{} can't be written: {error}", path.display()))
            })?;
        Ok(Path::new("target/bench/guest.json").to_path_buf())
    }
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

fn row(target: &Target, measured: Option<u64>) -> Vec<String> {
    let peer = target.best_peer();
    let ratio = match (measured, peer) {
        (Some(measured), Some((_, cost))) => format!("{:.2}", measured as f64 / cost as f64),
        _ => String::new(),
    };
    vec![
        target.key.to_owned(),
        measured.map_or("not measured".to_owned(), grouped),
        grouped(target.must),
        grouped(target.goal),
        peer.map_or("none".to_owned(), |(name, cost)| {
            format!("{name} {}", grouped(cost))
        }),
        ratio,
    ]
}
