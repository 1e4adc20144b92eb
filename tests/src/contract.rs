//! The contract as documents of this repository: rendered from the table in `abi`.

use std::path::PathBuf;

use crate::build;

/// A document that is rendered.
#[derive(Debug)]
pub struct Document {
    /// Where it belongs, in the repository.
    pub name: &'static str,
    /// What it has to say.
    pub text: String,
}

impl Document {
    /// Where it belongs.
    pub fn path(&self) -> PathBuf {
        build::repository().join(self.name)
    }
}

/// All of them.
pub fn documents() -> [Document; 2] {
    [
        Document {
            name: "docs/abi.md",
            text: abi::render::markdown(),
        },
        Document {
            name: "docs/handover.h",
            text: abi::render::c_header(),
        },
    ]
}
