//! The file that a timeline goes into.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::{Timeline, draw};
use crate::failure::Failure;

/// A file that a timeline goes into.
#[derive(Debug)]
pub struct Sink {
    path: PathBuf,
    file: File,
}

impl Sink {
    /// Makes the file, before there is anything to write.
    ///
    /// # Errors
    /// A usage failure when it can't be made.
    pub fn create(path: &Path) -> Result<Sink, Failure> {
        let file = File::create(path).map_err(|error| {
            let path = path.display();
            Failure::usage(format!("the trace can't be written to {path}: {error}"))
        })?;
        Ok(Sink {
            path: path.to_owned(),
            file,
        })
    }

    /// Writes the timeline of what a machine said, and answers a line about it for people.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn finish<'a>(self, lines: impl Iterator<Item = &'a str>) -> Result<String, Failure> {
        let timeline = draw(lines);
        let mut writer = BufWriter::new(self.file);
        serde_json::to_writer(&mut writer, &timeline.json)
            .map_err(std::io::Error::from)
            .and_then(|()| writer.flush())
            .map_err(|error| {
                let path = self.path.display();
                Failure::failed(format!("the trace can't be written to {path}: {error}"))
            })?;
        Ok(summary(&timeline, &self.path))
    }
}

fn summary(timeline: &Timeline, path: &Path) -> String {
    let mut text = format!(
        "trace: {} events in {}; open it at https://ui.perfetto.dev",
        timeline.events,
        path.display()
    );
    if timeline.lost > 0 {
        let _ = write!(
            text,
            "; {} events came too fast and are lost",
            timeline.lost
        );
    }
    if !timeline.complete {
        text.push_str("; the machine ended before the trace did");
    }
    text
}
