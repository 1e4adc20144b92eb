//! What the programs of `search` do, without the rings between them: a file is cut into parts of whole
//! lines, and what is found in the parts is what is found in the file.

use programs::search::{
    CHUNK, Chunk, MAX_MESSAGE, Match, Message, SHOWN, Shown, Span, chunks, matches, pattern,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// Files with lines of every length, also none, and bytes of every kind.
fn any_file() -> impl Strategy<Value = Vec<u8>> {
    vec(
        prop_oneof![4 => Just(b'\n'), 8 => b'a'..=b'c', 1 => any::<u8>()],
        0..300,
    )
}

/// What `grep -n` would say: numbers and lines.
fn expected<'a>(file: &'a [u8], text: &str) -> Vec<(u64, &'a [u8])> {
    let regex = pattern(text).expect("a pattern");
    let mut lines: Vec<&[u8]> = file.split(|&byte| byte == b'\n').collect();
    // What ends with the file is no further line.
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    let numbered = (1..).zip(lines);
    numbered.filter(|(_, line)| regex.is_match(line)).collect()
}

proptest! {
    #[test]
    fn parts_are_whole_lines_and_make_up_the_file(file in any_file(), size in 0..100_usize) {
        let (mut offset, mut line) = (0, 1);
        for chunk in chunks(&file, size) {
            let bytes = chunk.span.of(&file).expect("within the file");
            prop_assert_eq!((chunk.span.offset, chunk.first_line), (offset, line));
            prop_assert!(!bytes.is_empty());
            let ends_a_line = bytes.ends_with(b"\n") || offset + chunk.span.len == file.len() as u64;
            prop_assert!(ends_a_line);
            // No longer than it has to be.
            let last = bytes[..bytes.len() - 1].iter().rposition(|&byte| byte == b'\n');
            prop_assert!(last.is_none_or(|at| at + 1 < size.max(1)));
            offset += chunk.span.len;
            line += chunk.lines;
        }
        prop_assert_eq!(offset, file.len() as u64);
        let last = u64::from(file.last().is_some_and(|&byte| byte != b'\n'));
        let ends = file.iter().filter(|&&byte| byte == b'\n').count() as u64;
        prop_assert_eq!(line - 1, ends + last);
    }

    #[test]
    fn what_is_found_in_the_parts_is_what_is_in_the_file(
        file in any_file(),
        size in 1..100_usize,
        text in prop_oneof![Just("a"), Just("^$"), Just("ab*c"), Just("^[^a]*$"), Just(r"\xff|b$"), Just("")],
    ) {
        let regex = pattern(text).expect("a pattern");
        let mut found = Vec::new();
        for chunk in chunks(&file, size) {
            let bytes = chunk.span.of(&file).expect("within the file");
            found.extend(matches(&regex, &chunk, bytes).map(|found| {
                (found.line, found.span.of(&file).expect("within the file"))
            }));
        }
        prop_assert_eq!(found, expected(&file, text));
    }

    #[test]
    fn a_message_is_read_as_it_was_written(tag in 0..8_u32, bytes in vec(any::<u8>(), 0..=MAX_MESSAGE + 8)) {
        let length = bytes.len() & !7;
        for bytes in [&bytes[..], &bytes[..length]] {
            if let Some(message) = Message::decode(tag, bytes) {
                let mut buffer = [0; MAX_MESSAGE];
                prop_assert_eq!(message.encode(&mut buffer), (tag, bytes));
            }
        }
    }

    #[test]
    fn a_reference_reaches_nothing_outside_the_file(
        len in 0..20_usize,
        offset in prop_oneof![0..30_u64, any::<u64>()],
        count in prop_oneof![0..30_u64, any::<u64>()],
    ) {
        let file = vec![0; len];
        let span = Span { offset, len: count };
        let fits = offset.checked_add(count).is_some_and(|end| end <= len as u64);
        prop_assert_eq!(span.of(&file).map(<[u8]>::len), fits.then_some(count as usize));
    }

    #[test]
    fn whatever_is_in_a_line_is_shown_without_moving_the_cursor(line in vec(any::<u8>(), 0..2 * SHOWN)) {
        let shown = Shown(&line).to_string();
        prop_assert!(shown.chars().all(|c| c == '\t' || c == ' ' || c.is_ascii_graphic()));
        prop_assert_eq!(shown.contains("bytes)"), line.len() > SHOWN);
    }
}

#[test]
fn every_message_is_one() {
    let span = Span { offset: 3, len: 4 };
    let chunk = Chunk {
        span,
        first_line: 5,
        lines: 6,
    };
    for message in [
        Message::File { token: 1, len: 2 },
        Message::Chunk(chunk),
        Message::Match(Match { line: 7, span }),
        Message::Done {
            lines: 8,
            matches: 9,
        },
        Message::End { chunks: 10 },
    ] {
        let mut buffer = [0xff; MAX_MESSAGE];
        let (tag, bytes) = message.encode(&mut buffer);
        assert_eq!(Message::decode(tag, bytes), Some(message));
        for end in 0..bytes.len() {
            assert_eq!(Message::decode(tag, &bytes[..end]), None);
        }
    }
}

#[test]
fn a_line_longer_than_a_part_stays_whole() {
    let mut file = vec![b'x'; 3 * CHUNK];
    file.extend(b"\nshort");
    let lens: Vec<_> = chunks(&file, CHUNK).map(|chunk| chunk.span.len).collect();
    assert_eq!(lens, [3 * CHUNK as u64 + 1, 5]);
}

#[test]
fn text_is_shown_as_it_is_and_other_bytes_by_their_numbers() {
    assert_eq!(Shown(b"tab\there ~").to_string(), "tab\there ~");
    let shown = Shown("\x1b[1m\r ä\x7f".as_bytes()).to_string();
    assert_eq!(shown, "\\x1b[1m\\x0d \\xc3\\xa4\\x7f");
    let long = [b'x'; SHOWN + 1];
    let cut = "x".repeat(SHOWN) + "... (201 bytes)";
    assert_eq!(Shown(&long).to_string(), cut);
    assert_eq!(Shown(&long[..SHOWN]).to_string(), cut[..SHOWN]);
}
