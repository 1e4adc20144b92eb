//! The documents are true as far as a machine can tell: links lead somewhere, tests that are named
//! exist, and nothing speaks of the machine that it was written on.

use std::fs;
use std::path::{Path, PathBuf};

use handover_tests::build::repository;
use handover_tests::sabotage::ENTRIES;
use handover_tests::targets::TARGETS;

/// README.md and everything in docs/ that is text.
fn documents() -> Vec<PathBuf> {
    let root = repository();
    let mut found = vec![root.join("README.md")];
    let mut directories = vec![root.join("docs")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("docs can be read") {
            let path = entry.expect("docs can be read").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_none_or(|kind| kind != "png") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The text and the target of every link, outside of code blocks.
fn links(text: &str) -> Vec<(String, String)> {
    let mut in_block = false;
    let prose: Vec<&str> = text
        .lines()
        .filter(|line| {
            let fence = line.starts_with("```");
            in_block ^= fence;
            !in_block && !fence
        })
        .collect();
    let prose = prose.join("\n");
    let mut found = Vec::new();
    for (at, _) in prose.match_indices("](") {
        let name = prose[..at].rsplit('[').next().unwrap_or_default();
        if let Some((target, _)) = prose[at + 2..].split_once(')') {
            found.push((name.to_owned(), target.to_owned()));
        }
    }
    found
}

/// Everything between single backquotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for document in documents() {
        if document.extension().is_none_or(|kind| kind != "md") {
            continue;
        }
        for (name, target) in links(&read(&document)) {
            if target.starts_with("https://") {
                continue;
            }
            let file = target.split('#').next().unwrap_or_default();
            let path = document.with_file_name(file);
            let named = name.trim_matches('`').rsplit("::").next().unwrap_or("");
            let names_item = name.starts_with('`') && is_word(named) && file.ends_with(".rs");
            let found = if names_item {
                path.is_file() && (file.contains(named) || read(&path).contains(named))
            } else {
                file.is_empty() || path.exists()
            };
            if !found {
                broken.push(format!("{}: [{name}]({target})", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// What is in the code as "`item` in `file`".
#[test]
fn what_documents_say_is_in_a_file_is_there() {
    let mut missing = Vec::new();
    let mut places = 0;
    for document in documents() {
        let text = read(&document).replace('\n', " ");
        let parts: Vec<&str> = text.split('`').collect();
        for three in parts.windows(3) {
            let &[item, " in ", file] = three else {
                continue;
            };
            if !file.ends_with(".rs") {
                continue;
            }
            places += 1;
            let name = item.rsplit("::").next().unwrap_or_default();
            let path = repository().join(file);
            if !path.is_file() || !read(&path).contains(name) {
                missing.push(format!("{}: {item} in {file}", document.display()));
            }
        }
    }
    assert!(places > 15, "only {places} places are named");
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn every_decision_has_a_number_of_its_own() {
    let directory = repository().join("docs/adr");
    let mut numbers: Vec<usize> = fs::read_dir(directory)
        .expect("there are decisions")
        .map(|entry| entry.expect("they can be read").file_name())
        .map(|name| name.to_string_lossy()[..4].parse().expect("a number"))
        .collect();
    numbers.sort_unstable();
    let apart = numbers.windows(2).all(|pair| pair[0] < pair[1]);
    assert!(apart && numbers[0] == 1, "{numbers:?}");
}

/// The tests that a document names: how many, and those of them that do not exist.
fn named_tests(document: &str) -> (usize, Vec<String>) {
    let root = repository();
    let cases = read(&root.join("user/programs/src/cases.rs"));
    let text = read(&root.join(document));
    let mut named = 0;
    let mut missing = Vec::new();
    for name in quoted(&text) {
        let exists = if let Some(sabotage) = name.strip_prefix("sabotage=") {
            sabotage == "name" || ENTRIES.iter().any(|entry| entry.name == sabotage)
        } else if let Some((file, test)) = name.split_once("::")
            && file.starts_with(|c: char| c.is_ascii_lowercase())
        {
            (file, test) == ("file", "test")
                || [
                    "abi/tests",
                    "tests/tests",
                    "tests/tests/host",
                    "tests/tests/scarce",
                    "tests/tests/machine",
                    "ring/tests",
                    "mm/tests",
                    "ipc/tests",
                    "tests/embed/tests",
                ]
                .map(|directory| root.join(directory).join(format!("{file}.rs")))
                .iter()
                .any(|path| path.is_file() && has_test(&read(path), test))
        } else if let Some((group, case)) = name.split_once('.')
            && is_word(group)
            && is_word(case)
        {
            name == "group.case" || cases.contains(&format!("{group}::{case} \""))
        } else {
            continue;
        };
        named += 1;
        if !exists {
            missing.push(name.to_owned());
        }
    }
    (named, missing)
}

#[test]
fn tests_that_documents_name_exist() {
    let documents = [
        ("docs/INVARIANTS.md", 50),
        ("docs/proofs.md", 50),
        ("docs/prior-art.md", 30),
        ("docs/prior-art-tests.md", 150),
    ];
    for (document, at_least) in documents {
        let (named, missing) = named_tests(document);
        assert!(
            named > at_least,
            "only {named} tests are named in {document}"
        );
        assert!(missing.is_empty(), "{document}: {missing:?}");
    }
}

#[test]
fn every_feature_beyond_plain_memory_has_a_row_that_shows_it() {
    let text = read(&repository().join("docs/prior-art.md"));
    for feature in 7..=28 {
        let row = text
            .lines()
            .find(|line| line.starts_with(&format!("| F{feature} |")));
        assert!(row.is_some_and(|row| row.contains('`')), "F{feature}");
    }
}

/// As many rules as the specification has that was read.
const RULES: usize = 85;

#[test]
fn every_rule_of_shared_memory_has_a_row_that_says_what_holds_it() {
    let text = read(&repository().join("docs/prior-art-tests.md"));
    let mut rules: Vec<&str> = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("| shm")) {
        let cells: Vec<&str> = line.trim_matches(['|', ' ']).split(" | ").collect();
        let &[rule, held] = cells.as_slice() else {
            panic!("not a row: {line}");
        };
        let decided = held.starts_with("none: ") || held.contains("](adr/");
        let names = quoted(held).iter().any(|name| name.contains(['.', ':']));
        assert!(names || decided, "nothing holds {rule}");
        rules.push(rule.split(':').next().unwrap_or_default());
    }
    let count = rules.len();
    rules.sort_unstable();
    rules.dedup();
    assert_eq!(
        (rules.len(), count),
        (RULES, RULES),
        "one is missing or there twice"
    );
}

/// Whether a file has the function `test`, with the attribute that makes it one.
fn has_test(source: &str, test: &str) -> bool {
    let function = format!("fn {test}(");
    source
        .split("#[test]")
        .skip(1)
        .any(|rest| rest.split("fn ").nth(1).is_some() && first_function(rest) == function)
}

/// The beginning of the first function in a text, up to its parameters.
fn first_function(source: &str) -> &str {
    let start = source.find("fn ").unwrap_or(source.len());
    let end = source[start..].find('(').map_or(start, |at| start + at + 1);
    &source[start..end]
}

#[test]
fn every_sabotage_is_in_the_invariants() {
    let invariants = read(&repository().join("docs/INVARIANTS.md"));
    for entry in ENTRIES {
        assert!(
            invariants.contains(&format!("`sabotage={}`", entry.name)),
            "{}",
            entry.name
        );
    }
}

/// The names that `sabotaged!` is called with in the sources below a directory.
fn sabotaged(directory: &Path, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).expect("it is a directory") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            sabotaged(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = read(&path);
            let calls = text.split("sabotaged!(\"").skip(1);
            names.extend(calls.filter_map(|rest| rest.split('"').next().map(str::to_owned)));
        }
    }
}

#[test]
fn every_mechanism_that_can_be_taken_away_has_a_test_that_notices() {
    let mut names = Vec::new();
    for package in ["mm", "ipc", "kernel", "ring"] {
        sabotaged(&repository().join(package).join("src"), &mut names);
    }
    assert!(names.len() > 40, "only {}", names.len());
    for name in names {
        let known = ENTRIES.iter().any(|entry| entry.name == name);
        assert!(known, "no test for {name}");
    }
}

/// Calls `look` with the path and the text of every source file below a directory.
fn sources(directory: &Path, look: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(directory).expect("it is a directory") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            sources(&path, look);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            look(&path, &read(&path));
        }
    }
}

/// The part of docs/proofs.md that lists fences.
fn list_of_fences() -> String {
    let proofs = read(&repository().join("docs/proofs.md"));
    let (_, list) = proofs.split_once("## Each fence").expect("it is there");
    list.split("\n## ").next().unwrap_or_default().to_owned()
}

#[test]
fn every_fence_is_in_the_list_and_can_be_taken_away() {
    let list = list_of_fences();
    let mut named = Vec::new();
    for package in ["abi", "arch", "boot", "ipc", "kernel", "mm", "ring", "user"] {
        sources(&repository().join(package), &mut |path, text| {
            let lines: Vec<&str> = text.lines().collect();
            let is_test = path.components().any(|part| part.as_os_str() == "tests");
            for (at, line) in lines.iter().enumerate().filter(|_| !is_test) {
                let calls = line
                    .replace("compiler_fence(", "")
                    .contains("fence(Ordering");
                if !calls && !line.contains("\"mfence") {
                    continue;
                }
                let before = lines[at.saturating_sub(3)..=at].concat();
                let sabotage = before.rsplit("sabotaged!(\"").next().unwrap_or_default();
                let name = sabotage.split('"').next().unwrap_or_default().to_owned();
                let place = format!("{}:{}", path.display(), at + 1);
                assert!(before.contains("sabotaged!("), "always there: {place}");
                let row = format!("`sabotage={name}` |");
                assert!(list.contains(&row), "not in the list: {place}: {name}");
                named.push(name);
            }
        });
    }
    named.sort_unstable();
    named.dedup();
    assert_eq!(list.matches("`sabotage=").count(), named.len(), "{named:?}");
}

#[test]
fn every_named_pair_is_in_the_list() {
    let list = list_of_fences();
    for package in ["abi", "arch", "boot", "ipc", "kernel", "mm", "ring", "user"] {
        sources(&repository().join(package), &mut |path, text| {
            for rest in text.split("SYNC(").skip(1) {
                let name = rest.split(')').next().unwrap_or_default();
                let is_name = name
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c == '.' || c == '_');
                let is_listed = list.contains(&format!("`SYNC({name})`"));
                assert!(!is_name || is_listed, "{}: {name}", path.display());
            }
        });
    }
}

#[test]
fn documents_know_no_machine() {
    let directories = ["work", "root", "home", "tmp", "Users"];
    for document in documents() {
        let text = read(&document);
        for directory in directories {
            let path = format!("/{directory}/");
            assert!(!text.contains(&path), "{}: {path}", document.display());
        }
        for word in ["@RUN@", "@BIG@", "@BENCH@"] {
            assert!(!text.contains(word), "{}: {word}", document.display());
        }
    }
}

#[test]
fn the_picture_says_what_it_shows() {
    let picture = read(&repository().join("docs/architecture.svg"));
    for part in ["<title>", "viewBox", "prefers-color-scheme"] {
        assert!(picture.contains(part), "{part}");
    }
    assert!(read(&repository().join("docs/growth.svg")).contains("<title>"));
}

#[test]
fn every_operation_that_is_measured_is_in_the_table_of_what_it_costs() {
    let readme = read(&repository().join("README.md"));
    let rows: Vec<_> = readme.lines().map(|line| line.split(' ').next()).collect();
    let missing = TARGETS
        .iter()
        .filter(|target| !rows.contains(&Some(target.key)));
    let missing: Vec<_> = missing.map(|target| target.key).collect();
    assert!(missing.is_empty(), "not in README.md: {missing:?}");
}

/// What leads from a capability to an object without a second look when something was done, made or told by it.
const UNCHECKED: [&str; 5] = [
    ".look_up(",
    ".resource(",
    "part_of_region(",
    "region_of(",
    "Capability<",
];

#[test]
fn the_kernel_uses_capabilities_only_where_they_are_looked_at_again() {
    let mut found = Vec::new();
    let kernel = repository().join("kernel/src");
    sources(&kernel, &mut |path, text| {
        // A method of the kernel's own has that name.
        let text = text.replace(".look_up()", "");
        let used = UNCHECKED.iter().filter(|way| text.contains(**way));
        found.extend(used.map(|way| format!("{} has `{way}`", path.display())));
    });
    assert!(found.is_empty(), "{}", found.join("\n"));
}
