//! `render-docs`: writes the documents that are rendered from the table of system calls.

use std::process::ExitCode;

use clap::Parser;
use handover_tests::console::{complain, say};
use handover_tests::contract;
use handover_tests::failure::EXIT_FAILED;

/// Renders the documents that follow from the table of system calls, and names them.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Options {}

fn main() -> ExitCode {
    let Options {} = Options::parse();
    for document in contract::documents() {
        let path = document.path();
        let directory = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        if let Err(error) = directory.and_then(|()| std::fs::write(&path, &document.text)) {
            complain(&format!("render-docs: {}: {error}", document.name));
            return EXIT_FAILED.into();
        }
        say(document.name);
    }
    ExitCode::SUCCESS
}
