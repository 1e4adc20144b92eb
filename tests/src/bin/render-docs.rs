//! `render-docs`: writes the documents that are rendered from the table of system calls.

use std::process::ExitCode;

use handover_tests::console::{complain, say};
use handover_tests::contract;
use handover_tests::failure::EXIT_FAILED;

fn main() -> ExitCode {
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
