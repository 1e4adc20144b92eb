//! What the display of a machine shows at its end, saved through QEMU's monitor (QMP).
//!
//! The kernel writes to the port of `pvpanic` before it ends the machine. QEMU stops the machine
//! there, we save the screen, and the machine goes on to its end: no frame is missed, and nothing
//! depends on speed.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::failure::Failure;

const POLL: Duration = Duration::from_millis(2);

/// A monitor for one run, and who waits at it.
#[derive(Debug)]
pub struct Screen {
    directory: TempDir,
    file: PathBuf,
    ended: Arc<AtomicBool>,
    saving: JoinHandle<Result<(), String>>,
}

impl Screen {
    /// Waits for a machine with the monitor at [`socket`](Screen::socket), to save its last screen
    /// to `file` as PNG.
    ///
    /// # Errors
    /// When there is no place for the socket.
    pub fn save_to(file: &Path) -> Result<Self, Failure> {
        let unwritable =
            |error| Failure::failed(format!("{} can't be saved: {error}", file.display()));
        let file = std::path::absolute(file).map_err(unwritable)?;
        let directory = tempfile::tempdir().map_err(unwritable)?;
        let socket = socket_in(&directory);
        let ended = Arc::new(AtomicBool::new(false));
        let (image, over) = (file.clone(), ended.clone());
        let saving = std::thread::spawn(move || save(&socket, &image, &over));
        Ok(Self {
            directory,
            file,
            ended,
            saving,
        })
    }

    /// Where the machine has to have its monitor.
    pub fn socket(&self) -> PathBuf {
        socket_in(&self.directory)
    }

    /// After the end of the machine: whether the screen was saved.
    ///
    /// # Errors
    /// One line about why it was not.
    pub fn finish(self) -> Result<(), Failure> {
        self.ended.store(true, Ordering::Release);
        let saved = self
            .saving
            .join()
            .unwrap_or_else(|_| Err("the monitor was not understood".into()));
        let file = self.file.display();
        saved.map_err(|why| Failure::failed(format!("the screen was not saved to {file}: {why}")))
    }
}

fn socket_in(directory: &TempDir) -> PathBuf {
    directory.path().join("monitor")
}

fn save(socket: &Path, image: &Path, ended: &AtomicBool) -> Result<(), String> {
    let stream = loop {
        match UnixStream::connect(socket) {
            Ok(stream) => break stream,
            Err(error) if ended.load(Ordering::Acquire) => return Err(error.to_string()),
            Err(_) => std::thread::sleep(POLL),
        }
    };
    let mut monitor = Monitor {
        lines: BufReader::new(stream.try_clone().map_err(|error| error.to_string())?),
        stream,
    };
    monitor.execute(&json!({"execute": "qmp_capabilities"}))?;
    let status = monitor.execute(&json!({"execute": "query-status"}))?;
    if status["status"] != "guest-panicked" {
        while monitor.next()?["event"] != "STOP" {}
    }
    let saved = monitor.execute(&json!({
        "execute": "screendump",
        "arguments": {"filename": image, "format": "png"},
    }));
    // The machine may be gone before it answers.
    let _ = monitor.execute(&json!({"execute": "cont"}));
    saved.map(drop)
}

struct Monitor {
    lines: BufReader<UnixStream>,
    stream: UnixStream,
}

impl Monitor {
    fn send(&mut self, command: &Value) -> Result<(), String> {
        writeln!(self.stream, "{command}").map_err(|error| error.to_string())
    }

    /// The next thing that QEMU says.
    fn next(&mut self) -> Result<Value, String> {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line);
        if read.map_err(|error| error.to_string())? == 0 {
            return Err("the machine ended before it stopped for it".into());
        }
        serde_json::from_str(&line).map_err(|error| error.to_string())
    }

    /// Sends a command and waits for its answer.
    fn execute(&mut self, command: &Value) -> Result<Value, String> {
        self.send(command)?;
        loop {
            let mut answer = self.next()?;
            if let Some(error) = answer.get("error") {
                return Err(error["desc"].as_str().unwrap_or("refused").to_owned());
            }
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
        }
    }
}
