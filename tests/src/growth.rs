//! How costs grow: with the pages of a region, and with those who share it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::demo::grouped;
use crate::serial::Transcript;
use crate::table::{self, Align};

/// What is measured for each number of pages, in the order of the table.
pub const OPERATIONS: [(&str, &str); 7] = [
    ("map", "map"),
    ("unmap", "unmap"),
    ("protect", "protect"),
    ("share", "Share, grant and accept"),
    ("move", "Move, grant and accept"),
    ("copy", "CopyOnWrite, grant and accept"),
    ("revoke", "revoke of one mapping"),
];
/// What is measured for each number of sharers; the last are no instructions, but frames.
pub const SHARED: [(&str, &str); 5] = [
    ("map", "map for the last of them"),
    ("snapshot", "snapshot"),
    ("write", "first write after it"),
    ("revoke", "revoke of all of them"),
    (TABLES, "page tables taken for them"),
];
const TABLES: &str = "tables";

/// Pages of a leaf table.
pub const LEAF: u64 = 512;
/// What a leaf table may add to any operation, in instructions.
pub const FOR_EACH_LEAF: u64 = 100;

/// The figures of one run: what was measured, by operation and by number.
#[derive(Debug, Default)]
pub struct Growth {
    pages: BTreeMap<String, BTreeMap<u64, u64>>,
    sharers: BTreeMap<String, BTreeMap<u64, u64>>,
}

impl Growth {
    /// Takes the lines `#growth` and `#sharing` of a run.
    pub fn add(&mut self, transcript: &Transcript) {
        for record in transcript.records("growth") {
            if let (Some(operation), Some(pages), Some(instructions)) = (
                record.value("operation"),
                record.number("pages"),
                record.number("instructions"),
            ) {
                let costs = self.pages.entry(operation.to_owned()).or_default();
                costs.insert(pages, instructions);
            }
        }
        for record in transcript.records("sharing") {
            let Some(sharers) = record.number("sharers") else {
                continue;
            };
            for (name, _) in SHARED {
                if let Some(cost) = record.number(name) {
                    let costs = self.sharers.entry(name.to_owned()).or_default();
                    costs.insert(sharers, cost);
                }
            }
        }
    }

    /// Whether nothing of it was measured, as on more than one CPU.
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty() && self.sharers.is_empty()
    }

    /// What an operation costs, by number of pages.
    pub fn of_pages(&self, operation: &str) -> Vec<(u64, u64)> {
        let costs = self.pages.get(operation).into_iter().flatten();
        costs.map(|(&pages, &cost)| (pages, cost)).collect()
    }

    /// Both tables.
    pub fn tables(&self) -> String {
        let pages = grid("instructions for pages", &OPERATIONS, &self.pages);
        let sharers = grid("512 pages, sharers", &SHARED, &self.sharers);
        format!("{pages}\n\n{sharers}")
    }

    /// What grows that must not; empty when all is well.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (operation, costs) in &self.pages {
            let Some(&one) = costs.get(&1) else {
                problems.push(format!("{operation} of 1 page was not measured"));
                continue;
            };
            for (&pages, &cost) in costs {
                let leaves = pages.div_ceil(LEAF);
                let limit = match pages {
                    LEAF => one + one / 10,
                    _ => one + leaves * FOR_EACH_LEAF,
                };
                if cost > limit {
                    problems.push(format!(
                        "{operation} of {} pages costs {}; with {} for 1 page it may be {}",
                        grouped(pages),
                        grouped(cost),
                        grouped(one),
                        grouped(limit)
                    ));
                }
            }
        }
        for (sharers, tables) in self.sharers.get(TABLES).into_iter().flatten() {
            if *tables > 0 {
                problems.push(format!("{sharers} sharers took {tables} page tables"));
            }
        }
        problems
    }

    /// One object for each operation, with the costs by number.
    pub fn to_json(&self) -> Value {
        let of = |costs: &BTreeMap<String, BTreeMap<u64, u64>>| -> Value {
            let operations = costs.iter().map(|(operation, costs)| {
                let numbers = costs
                    .iter()
                    .map(|(number, cost)| (number.to_string(), json!(cost)));
                (operation.clone(), Value::Object(numbers.collect()))
            });
            Value::Object(operations.collect())
        };
        json!({"pages": of(&self.pages), "sharers": of(&self.sharers)})
    }
}

/// A table with a row for each operation and a column for each number.
fn grid(
    corner: &str,
    operations: &[(&str, &str)],
    costs: &BTreeMap<String, BTreeMap<u64, u64>>,
) -> String {
    let mut numbers: Vec<u64> = costs.values().flat_map(BTreeMap::keys).copied().collect();
    numbers.sort_unstable();
    numbers.dedup();
    let titles: Vec<String> = numbers.iter().copied().map(grouped).collect();
    let mut head = vec![(corner, Align::Left)];
    head.extend(titles.iter().map(|title| (title.as_str(), Align::Right)));
    let row = |(key, name): &(&str, &str)| {
        let cost = |number| costs.get(*key).and_then(|costs| costs.get(number));
        let cells = numbers
            .iter()
            .map(|number| cost(number).map_or("not measured".to_owned(), |cost| grouped(*cost)));
        std::iter::once((*name).to_owned()).chain(cells).collect()
    };
    let rows: Vec<Vec<String>> = operations.iter().map(row).collect();
    table::render(&head, &rows)
}
