//! Bytes as the golden files have them.

use std::fmt::Write;

/// 16 bytes a line behind their offset; `*` stands for further lines like the last.
fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    let (mut last, mut repeated): (&[u8], bool) = (&[], false);
    for (number, line) in bytes.chunks(16).enumerate() {
        if line == last {
            if !repeated {
                text.push_str("*\n");
            }
            repeated = true;
            continue;
        }
        (last, repeated) = (line, false);
        write!(text, "{:05x}", number * 16).unwrap();
        for byte in line {
            write!(text, " {byte:02x}").unwrap();
        }
        text.push('\n');
    }
    writeln!(text, "{:05x}", bytes.len()).unwrap();
    text
}

/// Compares bytes with what they were when the layout was agreed on.
pub fn check(bytes: &[u8], golden: &str) {
    let found = dump(bytes);
    assert!(found == golden, "the layout has changed:\n{found}");
}
