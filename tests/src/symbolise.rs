//! Names for the addresses in a kernel backtrace.

use std::path::{Path, PathBuf};

use addr2line::Loader;

use crate::build;

/// Looks addresses up in the debug information of one ELF file.
pub struct Symboliser {
    loader: Option<Loader>,
    repository: PathBuf,
}

impl Symboliser {
    /// Reads the debug information of `elf`. Without any, addresses keep their plain form.
    pub fn new(elf: &Path) -> Self {
        Self {
            loader: Loader::new(elf).ok(),
            repository: build::repository(),
        }
    }

    /// The line `  at 0xADDRESS` with function, file and line added, one line for each inlined
    /// function; `None` when the line is no such line or the address has no name.
    pub fn line(&self, line: &str) -> Option<String> {
        let digits = line.strip_prefix("  at 0x")?.split_whitespace().next()?;
        let address = u64::from_str_radix(digits, 16).ok()?;
        // A return address may already belong to the next statement, or the next function.
        let frames = self.frames(address.checked_sub(1)?);
        if frames.is_empty() {
            return None;
        }
        Some(format!(
            "  at 0x{digits} {}",
            frames.join("\n                        in ")
        ))
    }

    fn frames(&self, address: u64) -> Vec<String> {
        let Some(loader) = &self.loader else {
            return Vec::new();
        };
        let mut texts = Vec::new();
        if let Ok(mut frames) = loader.find_frames(address) {
            while let Ok(Some(frame)) = frames.next() {
                let function = frame.function.as_ref();
                // Line tables alone name no functions, and then nothing is known of inlined ones.
                let name = function
                    .and_then(|name| name.demangle().ok().map(|name| name.into_owned()))
                    .or_else(|| self.symbol(address));
                let place = frame.location.and_then(|location| {
                    let file = Path::new(location.file?);
                    let file = file.strip_prefix(&self.repository).unwrap_or(file);
                    Some(format!(
                        " ({}:{})",
                        file.display(),
                        location.line.unwrap_or(0)
                    ))
                });
                if name.is_some() || place.is_some() {
                    let name = name.unwrap_or_else(|| "?".into());
                    texts.push(format!("{name}{}", place.unwrap_or_default()));
                }
            }
        }
        if texts.is_empty() {
            texts.extend(self.symbol(address));
        }
        texts
    }

    fn symbol(&self, address: u64) -> Option<String> {
        let name = self.loader.as_ref()?.find_symbol(address)?;
        Some(addr2line::demangle_auto(name.into(), None).into_owned())
    }
}
