//! Arithmetic on free-running indices, shared by both ends and by the kernel's `ring_wait` and `ring_wake`.
//!
//! Indices wrap at 2^32 and no ring holds more than 2^31, so a difference tells which of two is ahead. All functions
//! are total: any word that a hostile peer may have written has an answer.

use abi::ring::{EndState, Kind};

/// Whether `index` has come as far as `goal`.
///
/// Right as long as they are at most 2^31 apart, which [`distance`] guarantees for checked indices.
pub const fn has_reached(index: u32, goal: u32) -> bool {
    index.wrapping_sub(goal) <= i32::MAX as u32
}

/// Whether the step from `old` to `new` passed `waits_until`: `old < waits_until ≤ new`, wrapping.
pub const fn has_crossed(old: u32, waits_until: u32, new: u32) -> bool {
    waits_until.wrapping_sub(old).wrapping_sub(1) < new.wrapping_sub(old)
}

/// Whether `waits_until` is ahead of `index` by something that a ring of `capacity` can still reach.
pub const fn is_armed(waits_until: u32, index: u32, capacity: u32) -> bool {
    waits_until.wrapping_sub(index).wrapping_sub(1) < capacity
}

/// How many are between `head` and `tail`, or `None` when no honest pair of ends can have these indices.
pub const fn distance(tail: u32, head: u32, capacity: u32) -> Option<u32> {
    let distance = tail.wrapping_sub(head);
    if distance <= capacity {
        Some(distance)
    } else {
        None
    }
}

/// [`distance`] as the consumer of a SLOT ring sees it.
///
/// A slot is published a moment before the tail says so, so the tail may be one behind the head.
pub const fn published(tail: u32, head: u32, capacity: u32) -> Option<u32> {
    if tail.wrapping_add(1) == head {
        Some(0)
    } else {
        distance(tail, head, capacity)
    }
}

/// How much there is to receive in a ring of this kind, or `None` as of [`distance`].
pub const fn waiting(kind: Kind, tail: u32, head: u32, capacity: u32) -> Option<u32> {
    match kind {
        Kind::Slot => published(tail, head, capacity),
        Kind::Byte | Kind::Packet => distance(tail, head, capacity),
    }
}

/// The head at which a producer has `wanted` free slots.
pub const fn head_for_space(tail: u32, wanted: u32, capacity: u32) -> u32 {
    tail.wrapping_add(wanted).wrapping_sub(capacity)
}

/// The largest wake threshold of one end, such that the two can never sleep at the same time.
///
/// Rule S9 wants `consumer's + producer's ≤ capacity + 1`; each side takes at most its half.
pub const fn max_threshold(capacity: u32) -> u32 {
    capacity.div_ceil(2)
}

/// Whether the kernel must not put a waiter to sleep: its peer's index has reached `seen`, or its peer is not open.
///
/// For `ring_wait`: `peer_index` is loaded once, with Acquire, under the lock that `ring_wake` takes too.
/// Whatever the peer wrote there, the worst is a wait that returns early or goes on until its deadline.
pub const fn wait_is_over(peer_state: EndState, peer_index: u32, seen: u32) -> bool {
    !matches!(peer_state, EndState::Open) || has_reached(peer_index, seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reaching_works_across_the_wrap() {
        assert!(has_reached(5, 5));
        assert!(has_reached(1, u32::MAX));
        assert!(!has_reached(u32::MAX, 0));
        assert!(!has_reached(0, 1 << 31));
        assert!(has_reached((1 << 31) - 1, 0));
    }

    #[test]
    fn crossing_is_exact_across_the_wrap() {
        for old in [0u32, 7, u32::MAX - 2, u32::MAX] {
            assert!(!has_crossed(old, old, old.wrapping_add(3)));
            assert!(has_crossed(old, old.wrapping_add(1), old.wrapping_add(3)));
            assert!(has_crossed(old, old.wrapping_add(3), old.wrapping_add(3)));
            assert!(!has_crossed(old, old.wrapping_add(4), old.wrapping_add(3)));
            assert!(!has_crossed(old, old.wrapping_add(1), old));
        }
    }

    #[test]
    fn only_a_reachable_goal_is_armed() {
        assert!(!is_armed(9, 9, 4));
        assert!(is_armed(10, 9, 4));
        assert!(is_armed(13, 9, 4));
        assert!(!is_armed(14, 9, 4));
        assert!(is_armed(1, u32::MAX, 4));
    }

    #[test]
    fn a_distance_beyond_the_capacity_is_refused() {
        assert_eq!(distance(2, u32::MAX, 4), Some(3));
        assert_eq!(distance(8, 4, 4), Some(4));
        assert_eq!(distance(9, 4, 4), None);
        assert_eq!(distance(3, 4, 4), None);
        assert_eq!(published(3, 4, 4), Some(0));
        assert_eq!(published(2, 4, 4), None);
        assert_eq!(distance(1 << 31, 0, 1 << 31), Some(1 << 31));
    }

    #[test]
    fn thresholds_never_let_both_sleep() {
        for shift in 0..32 {
            let capacity = 1u32 << shift;
            let most = u64::from(max_threshold(capacity));
            assert!(most >= 1 && 2 * most <= u64::from(capacity) + 1);
        }
    }

    #[test]
    fn a_waiter_sleeps_only_while_an_open_peer_is_behind() {
        assert!(!wait_is_over(EndState::Open, 4, 5));
        assert!(wait_is_over(EndState::Open, 5, 5));
        assert!(wait_is_over(EndState::Closed, 4, 5));
        assert!(wait_is_over(EndState::Poisoned, 4, 5));
    }
}
