//! Traces as people see them: a timeline in which every wait has its waker.

use std::collections::HashMap;
use std::process::Command;

use abi::submission::Operation;
use abi::trace::{EventKind, Left, Woken};
use abi::{FOREVER, Handle, ObjectKind, Syscall};
use handover_tests::strace::Strace;
use handover_tests::timeline::{Timeline, draw};
use proptest::prelude::*;
use serde_json::Value;

use crate::traces::{line, switch, thread, wake};

fn timeline(lines: &[String]) -> Timeline {
    draw(lines.iter().map(String::as_str))
}

fn events(timeline: &Timeline) -> &[Value] {
    timeline.json["traceEvents"].as_array().expect("a list")
}

fn of_phase<'a>(timeline: &'a Timeline, phase: &str) -> Vec<&'a Value> {
    let events = events(timeline).iter();
    events.filter(|event| event["ph"] == phase).collect()
}

fn slices<'a>(timeline: &'a Timeline, name: &str) -> Vec<&'a Value> {
    let mut slices = of_phase(timeline, "X");
    slices.retain(|slice| slice["name"] == name);
    slices
}

/// In ns.
fn span(slice: &Value) -> (u64, u64) {
    let ns = |key: &str| (slice[key].as_f64().expect("a number") * 1000.0).round() as u64;
    (ns("ts"), ns("ts") + ns("dur"))
}

/// What every timeline keeps: arrows join, slices of a track are beside or within one another, and
/// whoever waited was woken by somebody.
fn check(timeline: &Timeline) {
    let mut begun = HashMap::new();
    for arrow in of_phase(timeline, "s") {
        let id = arrow["id"].as_u64().expect("a number");
        assert!(begun.insert(id, &arrow["ts"]).is_none(), "one beginning");
    }
    for arrow in of_phase(timeline, "f") {
        let id = arrow["id"].as_u64().expect("a number");
        let start = begun
            .remove(&id)
            .expect("it begins somewhere, and ends once");
        assert!(start.as_f64() <= arrow["ts"].as_f64(), "forward in time");
    }
    assert!(begun.is_empty(), "arrows that lead nowhere: {begun:?}");
    let mut tracks: HashMap<(u64, u64), Vec<(u64, u64)>> = HashMap::new();
    for slice in of_phase(timeline, "X") {
        let number = |key: &str| slice[key].as_u64().expect("a number");
        let track = tracks.entry((number("pid"), number("tid"))).or_default();
        track.push(span(slice));
    }
    // A viewer binds an arrow to the slices around its ends, and drops it without.
    for end in of_phase(timeline, "s")
        .into_iter()
        .chain(of_phase(timeline, "f"))
    {
        let number = |key: &str| end[key].as_u64().expect("a number");
        let at = (end["ts"].as_f64().expect("a number") * 1000.0).round() as u64;
        let slices = &tracks[&(number("pid"), number("tid"))];
        let is_around = |&(begin, until): &(u64, u64)| begin <= at && at < until;
        assert!(slices.iter().any(is_around), "{end} has no slice");
        assert!(
            end["ph"] == "s" || end["bp"] == "e",
            "{end} leads to the next slice"
        );
    }
    for (track, mut spans) in tracks {
        spans.sort_by_key(|&(begin, end)| (begin, u64::MAX - end));
        let mut open: Vec<u64> = Vec::new();
        for (begin, end) in spans {
            open.retain(|&until| until > begin);
            let around = open.last().copied().unwrap_or(u64::MAX);
            assert!(end <= around, "{track:?}: {begin}..{end} leaves {around}");
            open.push(end);
        }
    }
    for wait in slices(timeline, "waits") {
        assert_ne!(wait["args"]["ended by"], "the scheduler", "{wait}");
    }
}

/// A consumer waits until a producer wakes it.
fn handover() -> Vec<String> {
    let end = Handle::new(0, 1, ObjectKind::RingEnd).bits();
    let (wait, rouse) = (Syscall::RingWait as u8, Syscall::RingWake as u8);
    vec![
        thread(1, 1_000, 7, "consumer"),
        line(1, 1_010, EventKind::Enter, wait, 7, &[end, 3, FOREVER]),
        switch(1, 1_200, 7, 0, Left::Asleep),
        thread(0, 2_000, 8, "producer"),
        line(0, 2_100, EventKind::Enter, rouse, 8, &[end]),
        wake(0, 2_150, 8, 7, Woken::Unparked),
        line(0, 2_200, EventKind::Leave, rouse, 8, &[]),
        switch(1, 2_300, 0, 7, Left::Ready),
        line(1, 2_400, EventKind::Leave, wait, 7, &[]),
        "#trace end 0".into(),
    ]
}

#[test]
fn a_wait_is_joined_with_its_waker() {
    let timeline = timeline(&handover());
    check(&timeline);
    let waits = slices(&timeline, "waits");
    assert_eq!(waits.len(), 1);
    assert_eq!(span(waits[0]), (1_200, 2_300));
    assert_eq!(
        (&waits[0]["tid"], &waits[0]["pid"]),
        (&7.into(), &907.into())
    );
    assert_eq!(waits[0]["args"]["ended by"], "a wake");
    assert_eq!(waits[0]["args"]["woken by"], "producer/8");
    let (starts, ends) = (of_phase(&timeline, "s"), of_phase(&timeline, "f"));
    assert_eq!((starts.len(), ends.len()), (1, 1));
    assert_eq!((&starts[0]["tid"], &ends[0]["tid"]), (&8.into(), &7.into()));
    let call = slices(&timeline, "ring_wait");
    assert_eq!(span(call[0]), (1_010, 2_400));
    let text = "ring_wait(end=ring-end#0.1, seen=3, deadline=never)";
    assert_eq!(call[0]["args"]["call"], text);
    assert_eq!((timeline.lost, timeline.complete), (0, true));
}

#[test]
fn a_sleep_that_a_deadline_ends_has_its_arrow_from_the_cpu() {
    let timeline = timeline(&[
        switch(0, 100, 7, 0, Left::Asleep),
        wake(0, 900, 0, 7, Woken::TimedOut),
        switch(0, 950, 0, 7, Left::Ready),
    ]);
    check(&timeline);
    let wait = slices(&timeline, "waits")[0];
    assert_eq!(wait["args"]["ended by"], "its deadline");
    assert_eq!(wait["args"]["woken by"], "CPU 0");
    assert_eq!(of_phase(&timeline, "s")[0]["pid"], 0);
    assert!(!timeline.complete);
}

#[test]
fn a_thread_that_starts_is_joined_with_who_started_it() {
    let nop = Syscall::Nop as u8;
    let timeline = timeline(&[
        thread(0, 90, 8, "parent"),
        wake(0, 100, 8, 7, Woken::Started),
        switch(1, 300, 0, 7, Left::Ready),
        line(1, 320, EventKind::Enter, nop, 7, &[]),
        line(1, 340, EventKind::Leave, nop, 7, &[]),
    ]);
    check(&timeline);
    let starts = slices(&timeline, "starts")[0];
    assert_eq!(span(starts), (100, 300));
    assert_eq!(starts["args"]["woken by"], "parent/8");
    assert_eq!(of_phase(&timeline, "f")[0]["tid"], 7);
}

#[test]
fn who_was_woken_before_it_slept_takes_no_later_arrow() {
    let timeline = timeline(&[
        wake(1, 100, 8, 7, Woken::Unparked),
        line(0, 150, EventKind::Enter, 0, 7, &[]),
        line(0, 160, EventKind::Leave, 0, 7, &[]),
        switch(0, 200, 7, 0, Left::Asleep),
        wake(1, 300, 8, 7, Woken::Unparked),
        switch(0, 400, 0, 7, Left::Ready),
    ]);
    check(&timeline);
    let ends = of_phase(&timeline, "f");
    assert_eq!(
        (&ends[0]["ts"], &ends[1]["ts"]),
        (&0.15.into(), &0.4.into())
    );
}

#[test]
fn what_came_too_fast_is_shown_as_a_gap() {
    let timeline = timeline(&[
        line(0, 100, EventKind::Enter, 0, 7, &[]),
        "#trace 0 lost 2a".into(),
        line(0, 500, EventKind::Leave, 0, 7, &[]),
        "#trace end 2a".into(),
    ]);
    check(&timeline);
    assert_eq!(timeline.lost, 42);
    let gap = slices(&timeline, "42 events lost");
    assert_eq!(span(gap[0]), (100, 500));
    // Whether that answer is of that call is not known.
    assert!(slices(&timeline, "nop").is_empty());
}

#[test]
fn entries_of_a_ring_are_shown_within_the_call_that_serves_them() {
    let (signal, wait) = (Operation::Signal as u8, Operation::NotifyWait as u8);
    let enter = Syscall::SubEnter as u8;
    let timeline = timeline(&[
        line(0, 100, EventKind::Enter, enter, 7, &[1, 2, 0, 0]),
        line(0, 150, EventKind::Entry, signal, 7, &[3, 4]),
        line(0, 250, EventKind::Completion, signal, 7, &[0, 21]),
        // It waits, and another thread ends that.
        line(0, 300, EventKind::Entry, wait, 7, &[3, FOREVER]),
        line(0, 400, EventKind::Leave, enter, 7, &[2]),
        line(1, 600, EventKind::Completion, wait, 8, &[0, 22]),
        "#trace end 0".into(),
    ]);
    check(&timeline);
    let done = slices(&timeline, "signal");
    assert_eq!((done.len(), span(done[0])), (1, (150, 250)));
    assert_eq!(done[0]["args"]["user_data"], 21);
    let ended = slices(&timeline, "notify_wait");
    assert_eq!((ended.len(), span(ended[0])), (1, (600, 600)));
    assert_eq!(ended[0]["args"]["answer"], "0");
}

#[test]
fn the_call_of_a_thread_that_ends_ends_with_it() {
    let exit = Syscall::ThreadExit as u8;
    let wait = Syscall::NotifyWait as u8;
    let timeline = timeline(&[
        // One exits, which it tells before its CPU leaves it.
        line(0, 100, EventKind::Enter, exit, 7, &[]),
        line(0, 140, EventKind::End, 0, 7, &[7]),
        switch(0, 200, 7, 0, Left::Ended),
        // One is killed as it waits, and one of which only its last switch is told.
        line(1, 100, EventKind::Enter, wait, 8, &[]),
        switch(1, 150, 8, 9, Left::Asleep),
        line(1, 200, EventKind::Enter, wait, 9, &[]),
        switch(1, 300, 9, 0, Left::Ended),
        line(0, 400, EventKind::End, 0, 6, &[8]),
        // The number again, of somebody else.
        switch(0, 600, 0, 7, Left::Ready),
        line(0, 700, EventKind::Enter, Syscall::Nop as u8, 7, &[]),
        line(0, 800, EventKind::Leave, Syscall::Nop as u8, 7, &[]),
        line(1, 9_000, EventKind::Interrupt, 32, 0, &[]),
        "#trace end 0".into(),
    ]);
    check(&timeline);
    assert_eq!(span(slices(&timeline, "thread_exit")[0]), (100, 140));
    let mut waits: Vec<_> = slices(&timeline, "notify_wait");
    waits.sort_by_key(|slice| slice["tid"].as_u64());
    let spans: Vec<_> = waits.iter().map(|slice| span(slice)).collect();
    assert_eq!(spans, [(100, 400), (200, 300)]);
    let asleep = slices(&timeline, "waits");
    assert_eq!(asleep.len(), 1);
    assert_eq!(span(asleep[0]), (150, 400));
    assert_eq!(asleep[0]["args"]["ended by"], "its end");
    assert!(slices(&timeline, "ready").is_empty(), "nobody came back");
}

proptest! {
    /// A machine may print anything.
    #[test]
    fn no_line_is_trusted(
        lines in prop::collection::vec("#trace( [0-9a-f]{1,3}){1,9}|#trace .{0,20}|.{0,20}", 0..40),
    ) {
        let _ = timeline(&lines);
        let mut strace = Strace::default();
        for line in &lines {
            let _ = strace.feed(line);
        }
    }
}

#[test]
fn a_demonstration_is_traced_from_its_machine() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("demo.json");
    let output = Command::new(env!("CARGO_BIN_EXE_handover"))
        .args(["--strace", "--trace"])
        .arg(&file)
        .output()
        .expect("the runner starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    let known = [
        " init/",
        "process_spawn(args=",
        "ring_create(geometry=",
        "accept(token=token#0.1, via=ring-end#",
        "exit(status=0) = ?",
        "trace: ",
    ];
    for text in known {
        assert!(said.contains(text), "{text} is missing:\n{said}");
    }
    assert!(!said.contains("#trace"), "{said}");
    assert!(!said.contains("are lost"), "{said}");
    assert!(
        !said.contains("cap_drop(handle=none)"),
        "what was used up is not given back"
    );
    let text = std::fs::read_to_string(&file).expect("the trace was written");
    let timeline = Timeline {
        json: serde_json::from_str(&text).expect("it is JSON"),
        events: 0,
        lost: 0,
        complete: true,
    };
    check(&timeline);
    assert!(!slices(&timeline, "process_wait").is_empty());
    assert!(!slices(&timeline, "waits").is_empty());
    assert!(!of_phase(&timeline, "f").is_empty(), "nobody woke anybody");
    let names = of_phase(&timeline, "M");
    let named = |name: &str| names.iter().any(|event| event["args"]["name"] == name);
    for name in ["CPU 0", "CPU 1", "producer", "consumer", "init"] {
        assert!(named(name), "no track of {name}");
    }
}
