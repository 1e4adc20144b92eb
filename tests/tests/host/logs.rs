//! The log collector's own logic: lines in parts, put into the order of their times, whatever becomes of
//! their writers, and who comes to send them.

use programs::logs::arrivals::{Arrivals, Heard};
use programs::logs::collector::{Collector, Counts, Line, Malformed};
use programs::logs::{MAX_LINE, MAX_PART, MAX_TEXT, Part, hello, line, parts};
use proptest::collection::vec;
use proptest::prelude::*;

/// How long a collector here waits for who says nothing.
const PATIENCE: u64 = 100;

/// The messages of a line.
fn messages(time_ns: u64, number: u32, text: &[u8]) -> Vec<Vec<u8>> {
    let mut buffer = [0; MAX_PART];
    parts(time_ns, number, text)
        .map(|part| part.encode(&mut buffer).to_vec())
        .collect()
}

fn all(collector: &mut Collector, now: u64) -> Vec<Line> {
    std::iter::from_fn(|| collector.next(now)).collect()
}

proptest! {
    #[test]
    fn a_line_is_put_together_as_it_was_taken_apart(
        text in vec(any::<u8>(), 0..=MAX_LINE), time_ns in 0..1000_u64,
    ) {
        let mut collector = Collector::new(1, PATIENCE);
        for message in messages(time_ns, 0, &text) {
            collector.take(0, &message, 1000).expect("a part of a line");
        }
        let expected = Line { time_ns, writer: 0, number: 0, text };
        prop_assert_eq!(all(&mut collector, 1000), [expected]);
    }

    /// There is one way to write a part.
    #[test]
    fn whatever_bytes_come_they_are_the_ones_of_a_part_or_refused(bytes in vec(any::<u8>(), 0..=MAX_PART)) {
        if let Some(part) = Part::decode(&bytes) {
            let mut buffer = [0; MAX_PART];
            prop_assert_eq!(part.encode(&mut buffer), &bytes[..]);
        }
    }

    #[test]
    fn a_spoilt_part_is_another_one_or_refused(
        number in 0..3_u32, place in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        for message in messages(5, number, line(1, number).as_bytes()) {
            let mut spoilt = message.clone();
            spoilt[place.index(message.len())] = byte;
            if let Some(part) = Part::decode(&spoilt) {
                let mut buffer = [0; MAX_PART];
                prop_assert_eq!(part.encode(&mut buffer), &spoilt[..]);
            }
            prop_assert_eq!(Part::decode(&message[..place.index(message.len())]), None);
        }
    }

    /// Writers send parts in any interleaving, and each ends after any part: every line that came whole
    /// is told once, in order, and no other is; each writer's counts say so.
    #[test]
    fn lines_are_told_once_in_order_whoever_ends_where(
        lives in vec((vec((0..20_u64, 0..=MAX_LINE), 0..6), any::<prop::sample::Index>()), 1..5),
        turns in vec(any::<prop::sample::Index>(), 300),
    ) {
        // What each writer sends before it ends: parts, with whether a line is complete with it.
        let mut sent: Vec<Vec<(Vec<u8>, bool)>> = Vec::new();
        for (lines, end) in &lives {
            let (mut time, mut all) = (0, Vec::new());
            for (number, (pause, len)) in lines.iter().enumerate() {
                time += pause;
                let mut parts = messages(time, number as u32, &vec![b'x'; *len]);
                let last = parts.pop().expect("a line has a part");
                all.extend(parts.into_iter().map(|part| (part, false)));
                all.push((last, true));
            }
            all.truncate(end.index(all.len() + 1));
            sent.push(all);
        }
        let expected: Vec<_> = sent.iter().map(|parts| {
            let complete = parts.iter().filter(|part| part.1).count() as u32;
            let cut = u32::from(parts.last().is_some_and(|part| !part.1));
            Counts { complete, cut, late: 0 }
        }).collect();
        let mut collector = Collector::new(lives.len(), u64::MAX);
        let mut queues: Vec<_> = sent.into_iter().map(Vec::into_iter).collect();
        let mut open: Vec<usize> = (0..queues.len()).collect();
        let mut told = Vec::new();
        let now = 150;
        for turn in turns {
            if open.is_empty() {
                break;
            }
            let at = turn.index(open.len());
            match queues[open[at]].next() {
                Some((part, _)) => prop_assert_eq!(collector.take(open[at], &part, now), Ok(())),
                None => collector.end(open.swap_remove(at)),
            }
            told.extend(all(&mut collector, now));
        }
        for writer in open {
            for (part, _) in queues[writer].by_ref() {
                prop_assert_eq!(collector.take(writer, &part, now), Ok(()));
            }
            collector.end(writer);
        }
        told.extend(all(&mut collector, now));
        prop_assert!(collector.is_done());
        prop_assert!(told.is_sorted_by_key(|line| line.time_ns));
        for (writer, expected) in expected.into_iter().enumerate() {
            prop_assert_eq!(collector.counts(writer), expected);
            let numbers = told.iter().filter(|line| line.writer == writer).map(|line| line.number);
            prop_assert!(numbers.eq(0..expected.complete));
        }
    }
}

#[test]
fn a_line_waits_for_who_may_still_say_something_older() {
    let mut collector = Collector::new(2, PATIENCE);
    let take = |collector: &mut Collector, writer, time, number| {
        for message in messages(time, number, b"text") {
            collector.take(writer, &message, 1000).expect("a part");
        }
    };
    take(&mut collector, 0, 50, 0);
    assert_eq!(collector.due_ns(), Some(50 + PATIENCE));
    assert_eq!(collector.next(60), None);
    take(&mut collector, 1, 40, 0);
    assert_eq!(collector.due_ns(), Some(0));
    assert_eq!(collector.next(60).map(|line| line.time_ns), Some(40));
    // The other one could still say something of the time 45.
    assert_eq!(collector.next(60), None);
    take(&mut collector, 1, 45, 1);
    assert_eq!(collector.next(60).map(|line| line.time_ns), Some(45));
    collector.end(1);
    assert_eq!(collector.next(60).map(|line| line.time_ns), Some(50));
}

#[test]
fn who_says_nothing_is_waited_for_a_while_and_counted_when_late() {
    let mut collector = Collector::new(2, PATIENCE);
    let early = messages(30, 0, b"early");
    let long = messages(20, 0, &[b'x'; MAX_TEXT + 1]);
    collector.take(0, &early[0], 30).expect("a part");
    // In the middle of a line, which is older.
    collector.take(1, &long[0], 30).expect("a part");
    assert!(collector.is_in_a_line(1) && !collector.is_in_a_line(0));
    assert_eq!(collector.next(30 + PATIENCE - 1), None);
    assert_eq!(
        collector.next(30 + PATIENCE).map(|line| line.number),
        Some(0)
    );
    collector.take(1, &long[1], 200).expect("a part");
    assert_eq!(collector.counts(1).late, 1);
    assert_eq!(collector.next(200).map(|line| line.time_ns), Some(20));
}

#[test]
fn of_who_has_ended_or_was_never_there_nothing_more_is_expected() {
    let mut collector = Collector::new(2, PATIENCE);
    assert_eq!(
        [0, 1, 2].map(|writer| collector.expects(writer)),
        [true, true, false]
    );
    collector.end(0);
    collector.take(1, b"nonsense", 10).unwrap_err();
    assert_eq!([0, 1].map(|writer| collector.expects(writer)), [false; 2]);
}

#[test]
fn a_clock_of_its_own_holds_nobody_back_and_a_writers_lines_keep_their_order() {
    let mut collector = Collector::new(1, PATIENCE);
    for (number, time) in [u64::MAX, 0, 7].into_iter().enumerate() {
        for message in messages(time, number as u32, b"text") {
            let now = 10 + number as u64;
            collector.take(0, &message, now).expect("a part");
        }
    }
    collector.end(0);
    let times: Vec<_> = all(&mut collector, 20)
        .iter()
        .map(|line| line.time_ns)
        .collect();
    assert_eq!(times, [10, 10, 10]);
}

#[test]
fn who_sends_nonsense_is_not_listened_to_any_more() {
    let long = messages(0, 0, &[b'x'; 2 * MAX_TEXT + 1]);
    let next = messages(0, 1, b"next");
    let other = messages(0, 0, b"other");
    // Nothing, an end without a beginning, the wrong number, a hole, another line within the line, a part twice.
    let empty: &[u8] = &[];
    for nonsense in [
        &[empty][..],
        &[&long[1]],
        &[&next[0]],
        &[&long[0], &long[2]],
        &[&long[0], &other[0]],
        &[&long[0], &long[0]],
    ] {
        let mut collector = Collector::new(1, PATIENCE);
        let (last, before) = nonsense.split_last().expect("something");
        for message in before {
            collector.take(0, message, 0).expect("a part");
        }
        assert_eq!(collector.take(0, last, 0), Err(Malformed));
        let cut = before.len() as u32;
        let counts = Counts {
            cut,
            ..Counts::default()
        };
        assert_eq!(collector.counts(0), counts);
        assert_eq!(collector.take(0, &other[0], 0), Err(Malformed));
        assert!(collector.is_done());
    }
    let mut collector = Collector::new(1, PATIENCE);
    assert_eq!(collector.take(1, &other[0], 0), Err(Malformed));
}

#[test]
fn lines_of_all_lengths_are_told_and_many_need_several_parts() {
    let several = (0..100).filter(|&number| line(3, number).len() > MAX_TEXT);
    assert!((10..90).contains(&several.count()));
    assert_ne!(line(3, 1), line(4, 1));
}

/// Gives a ring to somebody.
fn welcome(arrivals: &mut Arrivals, ring: usize) {
    assert_eq!(arrivals.welcome(|| Ok::<_, ()>((ring, ()))), Some(()));
}

#[test]
fn whom_the_system_refuses_something_takes_nobodys_place() {
    let mut arrivals = Arrivals::new(2);
    for _ in 0..10 {
        assert!(!arrivals.let_in(0, || Err(())));
        assert_eq!(arrivals.welcome(|| Err::<(usize, ()), _>(())), None);
    }
    for ring in 0..4 {
        assert!(arrivals.let_in(ring, || Ok::<_, ()>(())));
        welcome(&mut arrivals, ring);
    }
    // For more strangers nobody is even asked.
    let wait = || -> Result<(), ()> { panic!("it is sent away") };
    assert!(!arrivals.let_in(4, wait));
    let add = || -> Result<(usize, ()), ()> { panic!("it is sent away") };
    assert_eq!(arrivals.welcome(add), None);
    arrivals.end_ring(3);
    welcome(&mut arrivals, 3);
}

#[test]
fn a_ring_is_the_writers_that_it_names_first_and_nobody_is_a_writer_twice() {
    let (mut collector, mut arrivals) = (Collector::new(2, PATIENCE), Arrivals::new(2));
    for ring in 0..4 {
        welcome(&mut arrivals, ring);
    }
    let mut says = |ring, message: &[u8]| arrivals.hear(ring, message, &collector);
    assert_eq!(says(0, &hello(1)), Heard::Greeting);
    assert_eq!(says(0, &hello(0)), Heard::Writer(1));
    // The same writer, one that there is not, and no number.
    assert_eq!(says(1, &hello(1)), Heard::Stranger);
    assert_eq!(says(2, &hello(2)), Heard::Stranger);
    assert_eq!(says(3, b"hello"), Heard::Stranger);
    // Who has come and gone does not come again.
    assert_eq!(arrivals.end_ring(0), Some(1));
    collector.end(1);
    for ring in 0..4 {
        assert_eq!(arrivals.end_ring(ring), None);
        welcome(&mut arrivals, ring);
    }
    let mut says = |ring, message: &[u8]| arrivals.hear(ring, message, &collector);
    assert_eq!(says(0, &hello(1)), Heard::Stranger);
    assert_eq!(says(1, &hello(0)), Heard::Greeting);
}

#[test]
fn a_collector_ends_beside_rings_that_say_nothing_when_all_was_heard() {
    let (mut collector, mut arrivals) = (Collector::new(2, PATIENCE), Arrivals::new(2));
    for ring in 0..2 {
        welcome(&mut arrivals, ring);
    }
    let greeting = arrivals.hear(0, &hello(0), &collector);
    assert_eq!(greeting, Heard::Greeting);
    assert_eq!(arrivals.due_ns(&collector), u64::MAX);
    arrivals.end_process();
    arrivals.pause();
    arrivals.end_missing(2, &mut collector);
    assert!(collector.expects(1), "it runs");
    arrivals.end_process();
    // What was sent may be on its way, also that the ring is a writer's.
    assert_eq!(arrivals.due_ns(&collector), 0);
    arrivals.end_missing(2, &mut collector);
    assert!(collector.expects(1));
    arrivals.pause();
    arrivals.end_missing(2, &mut collector);
    assert_eq!(
        [0, 1].map(|writer| collector.expects(writer)),
        [true, false]
    );
    assert_eq!(arrivals.end_ring(0), Some(0));
    collector.end(0);
    assert!(collector.is_done());
}

#[test]
fn a_writer_without_a_ring_is_not_waited_for_when_nobody_has_one() {
    let (mut collector, mut arrivals) = (Collector::new(1, PATIENCE), Arrivals::new(1));
    arrivals.end_missing(0, &mut collector);
    assert!(collector.expects(0), "it may come");
    arrivals.end_process();
    arrivals.end_missing(0, &mut collector);
    assert!(collector.is_done());
}
