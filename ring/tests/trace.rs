//! A trace ring: what is read is what was recorded, in order, and everything else is counted as lost.
#![cfg(not(loom))]

mod common;

use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use abi::trace::{COUNTS_OFFSET, MIN_SLOTS, SLOT_WORDS, SLOTS_OFFSET, len};
use proptest::prelude::*;
use ring::memory::trace::{CpuView, PagePointer, TracePages, TraceView, end, format};
use ring::trace::{Observed, Observer, Recorder};

const PAGE: usize = 4096;

#[repr(align(4096))]
struct Page(#[allow(dead_code)] [AtomicU64; PAGE / 8]);

/// The memory of a whole trace in one piece.
struct Backing {
    pages: Vec<Page>,
    cpus: usize,
    slots: u32,
}

impl Backing {
    fn new(cpus: usize, slots: u32) -> Backing {
        let count = len(cpus, slots) / PAGE;
        let page = || Page([const { AtomicU64::new(0) }; PAGE / 8]);
        let backing = Backing {
            pages: (0..count).map(|_| page()).collect(),
            cpus,
            slots,
        };
        // SAFETY: zeros that only this test has.
        unsafe { format(backing.base(), cpus as u32, slots, 7) };
        backing
    }

    fn base(&self) -> NonNull<u8> {
        NonNull::from(self.pages.as_slice()).cast()
    }

    fn view(&self) -> TraceView<'_> {
        // SAFETY: the pages are all there is, and stay.
        unsafe { TraceView::from_raw(self.base(), self.pages.len() * PAGE) }.expect("formatted")
    }

    fn recorder(&self, cpu: usize) -> Recorder<TracePages<Vec<PagePointer>>> {
        assert!(cpu < self.cpus);
        let first = (SLOTS_OFFSET + cpu * self.slots as usize * 64) / PAGE;
        let pages = self.slots as usize * 64 / PAGE;
        // SAFETY: pages of the backing, which outlives what a test makes of it.
        unsafe {
            let pages =
                (first..first + pages).map(|page| PagePointer(self.base().add(page * PAGE)));
            let count = self.base().add(COUNTS_OFFSET + cpu * 64).cast();
            Recorder::new(TracePages::from_raw(count, pages.collect()).expect("a power of two"))
        }
    }
}

type Words = [u64; SLOT_WORDS];

/// A record whose every word tells which it is.
fn record(number: u64) -> Words {
    std::array::from_fn(|word| match word {
        0 => (number & 0xffff_ffff) << 32,
        word => number * 16 + word as u64,
    })
}

fn number(words: &Words) -> u64 {
    let number = words[1] / 16;
    let mut expected = record(number);
    expected[0] |= words[0] & 0xffff_ffff;
    assert_eq!(*words, expected, "parts of two records");
    number
}

/// Reads everything that is there; returns how many were lost.
fn drain(observer: &mut Observer<CpuView<'_>>, next: &mut u64) -> u64 {
    let mut missing = 0;
    while let Some(observed) = observer.observe() {
        match observed {
            Observed::Record(words) => {
                assert_eq!(number(&words), *next);
                *next += 1;
            }
            Observed::Lost(count) => {
                assert!(count > 0);
                *next += count;
                missing += count;
            }
        }
    }
    missing
}

#[test]
fn a_reader_that_keeps_up_reads_everything() {
    let backing = Backing::new(2, MIN_SLOTS);
    let mut recorder = backing.recorder(1);
    let view = backing.view();
    let mut observer = view.observer(1).expect("CPU 1");
    let mut next = 0;
    for number in 0..1000 {
        recorder.record(&record(number));
        if number % 50 == 0 {
            assert_eq!(drain(&mut observer, &mut next), 0);
            assert_eq!(next, number + 1);
        }
    }
    // The other CPU has a ring of its own.
    assert_eq!(
        view.observer(0).expect("CPU 0").observe::<SLOT_WORDS>(),
        None
    );
    assert!(view.observer(2).is_none());
}

#[test]
fn a_reader_that_is_lapped_is_told_how_many_it_missed() {
    let backing = Backing::new(1, MIN_SLOTS);
    let mut recorder = backing.recorder(0);
    let view = backing.view();
    let slots = u64::from(MIN_SLOTS);
    (0..slots + 10).for_each(|number| recorder.record(&record(number)));
    let mut observer = view.observer(0).expect("CPU 0");
    assert_eq!(observer.observe::<SLOT_WORDS>(), Some(Observed::Lost(10)));
    let mut next = 10;
    assert_eq!(drain(&mut observer, &mut next), 0);
    assert_eq!((next, observer.behind()), (slots + 10, 0));
}

#[test]
fn memory_that_is_no_trace_is_refused() {
    let backing = Backing::new(1, MIN_SLOTS);
    let bytes = backing.pages.len() * PAGE;
    let open = |bytes| {
        // SAFETY: at most the bytes of the backing.
        unsafe { TraceView::from_raw(backing.base(), bytes) }.is_ok()
    };
    assert!(open(bytes));
    assert!(!open(bytes - PAGE) && !open(PAGE) && !open(0));
    assert_eq!(backing.view().started_ns(), 7);
    assert!(!backing.view().has_ended());
    // SAFETY: it was formatted.
    unsafe { end(backing.base()) };
    assert!(backing.view().has_ended());
    backing.pages[0].0[1].store(u64::MAX, Ordering::Relaxed);
    assert!(!open(bytes));
    backing.pages[0].0[0].store(0, Ordering::Relaxed);
    assert!(!open(bytes));
}

#[test]
fn readers_beside_the_writer_read_whole_records_and_account_for_all() {
    let backing = Backing::new(1, MIN_SLOTS);
    let total = if cfg!(miri) { 300 } else { 200_000 };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let view = backing.view();
                let mut observer = view.observer(0).expect("CPU 0");
                let mut next = 0;
                loop {
                    let last = done.load(Ordering::Acquire);
                    drain(&mut observer, &mut next);
                    if last {
                        break;
                    }
                }
                assert_eq!(next, total);
            });
        }
        let mut recorder = backing.recorder(0);
        (0..total).for_each(|number| recorder.record(&record(number)));
        done.store(true, Ordering::Release);
    });
}

proptest! {
    #![proptest_config(common::cases(256, 4))]

    /// Any mixture of recording and reading, against a plain count.
    #[test]
    fn every_record_is_read_or_lost_once(
        steps in prop::collection::vec((0u64..200, 0usize..90), 1..40),
    ) {
        let backing = Backing::new(1, MIN_SLOTS);
        let mut recorder = backing.recorder(0);
        let view = backing.view();
        let mut observer = view.observer(0).expect("CPU 0");
        let (mut recorded, mut next) = (0, 0);
        for (records, reads) in steps {
            (0..records).for_each(|number| recorder.record(&record(recorded + number)));
            recorded += records;
            prop_assert_eq!(recorder.recorded(), recorded);
            for _ in 0..reads {
                let kept = recorded.saturating_sub(MIN_SLOTS.into());
                match observer.observe() {
                    None => prop_assert_eq!(next, recorded),
                    Some(Observed::Lost(count)) => {
                        // Nothing is written meanwhile, so exactly what is not there is lost.
                        prop_assert_eq!(next + count, kept);
                        next += count;
                    }
                    Some(Observed::Record(words)) => {
                        prop_assert!(next >= kept);
                        prop_assert_eq!(number(&words), next);
                        next += 1;
                    }
                }
                prop_assert_eq!(observer.behind(), recorded - next);
            }
        }
    }
}
