//! Records of a PACKET ring: a head of 8 bytes, `length:32 | tag:32` with the length in the low half, and the payload.
//!
//! A record begins at a multiple of 8. Its payload follows the head at once if it is shorter than [`LINE_FROM`], so that
//! small records share a cache line; otherwise it begins at the next multiple of 64. Where it lies follows from the
//! record's index and length alone, so there is no padding to be told of and nothing more to be believed.
//! No record is shorter than its head: one of no bytes is a record, too.

/// What records begin and end at a multiple of, in bytes.
pub const ALIGN: u32 = 8;
/// Bytes of a record before its payload, not counting what aligns it.
pub const HEAD_BYTES: u32 = 8;
/// A payload of so many bytes or more begins at a multiple of [`LINE_BYTES`].
pub const LINE_FROM: u32 = 256;
/// What long payloads are aligned to, in bytes.
pub const LINE_BYTES: u32 = 64;

/// The head of a record.
pub const fn head(length: u32, tag: u32) -> u64 {
    length as u64 | (tag as u64) << 32
}

/// The length in a head, in bytes. It is the producer's word: bound it before use.
pub const fn length(head: u64) -> u32 {
    head as u32
}

/// The tag in a head, which means what the two ends have agreed on.
pub const fn tag(head: u64) -> u32 {
    (head >> 32) as u32
}

/// How far behind the beginning of the record at `index` its payload of `length` bytes begins: at most 64 bytes.
pub const fn payload_offset(index: u32, length: u32) -> u32 {
    if length < LINE_FROM {
        return HEAD_BYTES;
    }
    let packed = index.wrapping_add(HEAD_BYTES);
    HEAD_BYTES + (packed.wrapping_neg() & (LINE_BYTES - 1))
}

/// Bytes from the beginning of the record at `index` to the next, for a `length` up to [`max_payload`].
pub const fn extent(index: u32, length: u32) -> u32 {
    (payload_offset(index, length) + length).next_multiple_of(ALIGN)
}

/// The longest payload that fits into an empty ring of `capacity` bytes, wherever its indices are.
pub const fn max_payload(capacity: u32) -> u32 {
    capacity.saturating_sub(LINE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_payload_fits_at_every_index_and_one_byte_more_does_not() {
        for capacity in [4096, 1 << 20, super::super::MAX_CAPACITY] {
            let longest = max_payload(capacity);
            let extents = || (0..128).map(|step| (u32::MAX - 511).wrapping_add(8 * step));
            assert!(extents().all(|index| extent(index, longest) <= capacity));
            assert!(extents().any(|index| extent(index, longest + 1) > capacity));
        }
    }

    #[test]
    fn short_payloads_are_packed_and_long_ones_begin_a_line() {
        for index in (0..1024).step_by(8) {
            for length in 0..LINE_FROM {
                assert_eq!(payload_offset(index, length), HEAD_BYTES);
                assert_eq!(
                    extent(index, length),
                    (HEAD_BYTES + length).next_multiple_of(8)
                );
            }
            for length in [LINE_FROM, 1000, 4000] {
                let offset = payload_offset(index, length);
                assert!((HEAD_BYTES..=LINE_BYTES).contains(&offset));
                assert!((index + offset).is_multiple_of(LINE_BYTES));
                assert!(extent(index, length).is_multiple_of(ALIGN));
            }
        }
    }

    #[test]
    fn a_head_keeps_what_it_is_made_of() {
        let word = head(u32::MAX, 0xfeed_beef);
        assert_eq!((length(word), tag(word)), (u32::MAX, 0xfeed_beef));
        assert_eq!(head(5, 7).to_le_bytes(), [5, 0, 0, 0, 7, 0, 0, 0]);
    }
}
