//! Each way of copying, at the lengths at which one ends and the next begins, at every place within a line.

use std::vec::Vec;

use super::{copy_in, copy_out};

type Copy = unsafe fn(*const u8, *mut u8, usize);

const WAYS: [Copy; 2] = [copy_in, copy_out];

/// A line of the cache.
const LINE: usize = 64;

/// So many bytes before and behind the target must stay as they are.
const MARGIN: usize = 2 * LINE;

/// What a byte is that nobody has copied: none of the source is.
const UNTOUCHED: u8 = 0xff;

/// Room for a copy of so many bytes from any place of a line on, with what is around it.
struct Room {
    bytes: Vec<u8>,
    /// Where a line begins, behind a margin.
    line: usize,
}

impl Room {
    fn new(longest: usize) -> Self {
        // Of a period that is none of a line or a page.
        let bytes = (0..longest + 2 * MARGIN + 2 * LINE).map(|at| (at % 251) as u8);
        let bytes: Vec<u8> = bytes.collect();
        let line = MARGIN + bytes.as_ptr().align_offset(LINE);
        Self { bytes, line }
    }
}

/// Copies `length` bytes from one place of a line to another, and looks at each of them and at the margins.
fn check(copy: Copy, source: &Room, target: &mut Room, length: usize, (from, to): (usize, usize)) {
    let (from, to) = (source.line + from, target.line + to);
    let touched = &mut target.bytes[to - MARGIN..to + length + MARGIN];
    touched.fill(UNTOUCHED);
    // SAFETY: both are long enough, and two vectors.
    unsafe {
        let source = source.bytes.as_ptr().add(from);
        copy(source, touched.as_mut_ptr().add(MARGIN), length);
    }
    let (before, rest) = touched.split_at(MARGIN);
    let (copied, behind) = rest.split_at(length);
    let places = (from % LINE, to % LINE);
    assert!(
        copied == &source.bytes[from..from + length],
        "{length} bytes, places {places:?}"
    );
    for margin in [before, behind] {
        assert!(
            margin == [UNTOUCHED; MARGIN],
            "around {length} bytes, places {places:?}"
        );
    }
}

/// Miri takes the portable copy, which has borders at 8 bytes alone.
#[test]
fn what_is_around_a_border_is_copied_to_the_byte_from_and_to_every_place_of_a_line() {
    let borders: &[usize] = match cfg!(miri) {
        true => &[8],
        false => &[8, 16, 64, 128, 192, 256, 768, 1024, 4095],
    };
    let step = if cfg!(miri) { 9 } else { 1 };
    let longest = borders.iter().max().unwrap() + 2;
    let (source, mut target) = (Room::new(longest), Room::new(longest));
    for copy in WAYS {
        for length in borders.iter().flat_map(|border| border - 2..=border + 2) {
            for from in (0..LINE).step_by(step) {
                for to in (0..LINE).step_by(step) {
                    check(copy, &source, &mut target, length, (from, to));
                }
            }
        }
    }
}

#[test]
fn every_length_is_copied_to_the_byte() {
    let longest = if cfg!(miri) { 40 } else { 4200 };
    let (source, mut target) = (Room::new(longest), Room::new(longest));
    for copy in WAYS {
        for length in 0..=longest {
            for places in [(0, 0), (0, 1), (3, 0), (7, 5), (56, 63)] {
                check(copy, &source, &mut target, length, places);
            }
        }
    }
}
