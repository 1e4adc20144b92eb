//! The cases of the suite, by name.

/// The name of each case, and what it shows in a sentence.
pub const CASES: &[(&str, &str)] = &[];
