//! What the machine says on its serial port.
//!
//! Lines that begin with `#` are for programs, `#kind key=value … words`; all others are for the
//! person. Nothing here trusts the machine to finish a line, to be short or to be UTF-8.

/// A line is cut after this many bytes.
const LINE_LIMIT: usize = 64 << 10;
/// Lines for the person are kept up to this many bytes in all; those for programs always.
const KEPT_LIMIT: usize = 64 << 20;

/// Cuts a stream of bytes into lines.
#[derive(Debug, Default)]
pub struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Takes some bytes and gives every line that they complete to `on_line`.
    pub fn feed(&mut self, bytes: &[u8], on_line: &mut dyn FnMut(&str)) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.partial.len() > LINE_LIMIT {
                self.finish(on_line);
            }
        }
    }

    /// Gives the rest, which no line end has completed, to `on_line`.
    pub fn finish(&mut self, on_line: &mut dyn FnMut(&str)) {
        if !self.partial.is_empty() {
            on_line(String::from_utf8_lossy(&self.partial).trim_end_matches(['\r', '\n']));
            self.partial.clear();
        }
    }
}

/// The lines of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transcript {
    lines: Vec<String>,
    kept_bytes: usize,
}

/// A line for programs: its kind, its `key=value` pairs and the words after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// The word after `#`.
    pub kind: &'a str,
    words: Vec<&'a str>,
}

impl<'a> Record<'a> {
    /// Reads a line; `None` when it is not for programs.
    pub fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.strip_prefix('#')?.split_whitespace();
        Some(Self {
            kind: words.next()?,
            words: words.collect(),
        })
    }

    /// The value of `key`.
    pub fn value(&self, key: &str) -> Option<&'a str> {
        self.pairs()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value)
    }

    /// The value of `key` as a number, decimal or with `0x`.
    pub fn number(&self, key: &str) -> Option<u64> {
        let value = self.value(key)?;
        match value.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => value.parse().ok(),
        }
    }

    /// All pairs, in order.
    pub fn pairs(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.words.iter().filter_map(|word| word.split_once('='))
    }

    /// The word at `index`, whatever it is.
    pub fn word(&self, index: usize) -> Option<&'a str> {
        self.words.get(index).copied()
    }

    /// The words from `index` on, as text.
    pub fn text_from(&self, index: usize) -> String {
        self.words.get(index..).unwrap_or_default().join(" ")
    }
}

impl Transcript {
    /// Adds a line.
    pub fn push(&mut self, line: &str) {
        if line.starts_with('#') || self.kept_bytes < KEPT_LIMIT {
            self.kept_bytes += line.len();
            self.lines.push(line.to_owned());
        }
    }

    /// All lines.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The last line that is not empty; empty when there is none.
    pub fn last_line(&self) -> &str {
        self.lines
            .iter()
            .rev()
            .map(|line| line.trim())
            .find(|line| !line.is_empty())
            .unwrap_or("")
    }

    /// All records of one kind, in order.
    pub fn records<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = Record<'a>> {
        self.lines
            .iter()
            .filter_map(|line| Record::parse(line))
            .filter(move |record| record.kind == kind)
    }

    /// The exit status of `init`: the number in the last line, if that is `#exit N`.
    pub fn exit_status(&self) -> Option<u8> {
        let record = Record::parse(self.last_line()).filter(|record| record.kind == "exit")?;
        record.word(0)?.parse().ok()
    }

    /// What the kernel said when it panicked.
    pub fn panic_message(&self) -> Option<&str> {
        self.lines
            .iter()
            .find_map(|line| line.strip_prefix("panic on CPU "))
            .and_then(|rest| rest.split_once(": "))
            .map(|(_, message)| message)
    }
}
impl<'a> FromIterator<&'a str> for Transcript {
    fn from_iter<T: IntoIterator<Item = &'a str>>(lines: T) -> Self {
        let mut transcript = Self::default();
        lines.into_iter().for_each(|line| transcript.push(line));
        transcript
    }
}

#[cfg(test)]
mod tests {
    use super::{Lines, Record, Transcript};

    fn cut(chunks: &[&[u8]]) -> Vec<String> {
        let mut found = Vec::new();
        let mut lines = Lines::default();
        for chunk in chunks {
            lines.feed(chunk, &mut |line| found.push(line.to_owned()));
        }
        lines.finish(&mut |line| found.push(line.to_owned()));
        found
    }

    #[test]
    fn lines_survive_any_cutting_of_the_stream() {
        assert_eq!(cut(&[b"a\r\nb", b"c\n", b"\n", b"d"]), ["a", "bc", "", "d"]);
        assert_eq!(cut(&[b"\xff\n"]), ["\u{fffd}"]);
    }

    #[test]
    fn an_endless_line_is_cut() {
        assert_eq!(cut(&[&vec![b'x'; 70_000], b"y\n"]).len(), 2);
    }

    #[test]
    fn records_give_values_words_and_text() {
        let record = Record::parse("#case ring-3 status=ok it passes x=0x10").expect("a record");
        assert_eq!((record.kind, record.word(0)), ("case", Some("ring-3")));
        assert_eq!(record.value("status"), Some("ok"));
        assert_eq!(record.number("x"), Some(16));
        assert_eq!(record.text_from(2), "it passes x=0x10");
        assert_eq!(Record::parse("plain"), None);
        assert_eq!(Record::parse("#"), None);
    }

    #[test]
    fn only_the_last_line_gives_the_exit_status() {
        let status = |lines: &[&str]| lines.iter().copied().collect::<Transcript>().exit_status();
        assert_eq!(status(&["#exit 7"]), Some(7));
        assert_eq!(status(&["#exit 255", ""]), Some(255));
        assert_eq!(status(&["#exit 0", "more"]), None);
        assert_eq!(status(&["#exit 256"]), None);
        assert_eq!(status(&[]), None);
    }
}
