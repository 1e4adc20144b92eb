//! Traces as people see them: a timeline in which every wait has its waker, and calls as lines.

use std::collections::HashMap;
use std::process::Command;

use abi::trace::{EventKind, Left, Woken};
use abi::{Error, FOREVER, Handle, Mode, ObjectKind, Rights, Syscall};
use handover_tests::strace::Strace;
use handover_tests::timeline::{Timeline, draw};
use proptest::prelude::*;
use serde_json::Value;

/// A line as `tracer` writes it.
fn line(cpu: usize, time: u64, kind: EventKind, number: u8, thread: u32, words: &[u64]) -> String {
    let kind = kind as u8;
    let head = format!("#trace {cpu:x} {time:x} {kind:x} {number:x} {thread:x}");
    words
        .iter()
        .fold(head, |line, word| format!("{line} {word:x}"))
}

fn thread(cpu: usize, time: u64, thread: u32, name: &str) -> String {
    let mut bytes = [0; 32];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    let word = |index: usize| u64::from_le_bytes(bytes[8 * index..][..8].try_into().unwrap());
    let words = [thread.into(), 900 + u64::from(thread), word(0), word(1)];
    line(cpu, time, EventKind::Thread, 0, thread, &words)
}

fn switch(cpu: usize, time: u64, from: u32, to: u32, left: Left) -> String {
    let words = [to.into(), from.into(), left as u64];
    line(cpu, time, EventKind::Switch, 0, from, &words)
}

fn wake(cpu: usize, time: u64, by: u32, woken: u32, why: Woken) -> String {
    let words = [woken.into(), 0, why as u64];
    line(cpu, time, EventKind::Wake, 0, by, &words)
}

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

fn strace(lines: &[String]) -> Vec<String> {
    let mut strace = Strace::default();
    lines
        .iter()
        .flat_map(|line| strace.feed(line).expect("a line of a trace"))
        .collect()
}

#[test]
fn calls_are_printed_by_name_with_their_arguments_and_answers() {
    let region = Handle::new(2, 1, ObjectKind::Region).bits();
    let process = Handle::new(4, 9, ObjectKind::Process).bits();
    let rights = (Rights::READ | Rights::MAP).bits().into();
    let words = [region, process, Mode::Share as u64, rights, 0, FOREVER];
    let denied = abi::encode(Err(Error::Denied));
    let (grant, exit) = (Syscall::Grant as u8, Syscall::Exit as u8);
    let said = strace(&[
        thread(0, 1, 7, "giver"),
        line(0, 2_000_000, EventKind::Enter, grant, 7, &words),
        line(0, 2_000_500, EventKind::Leave, grant, 7, &[denied]),
        line(0, 3_000_000, EventKind::Enter, exit, 7, &[3]),
        switch(0, 3_000_100, 7, 0, Left::Ended),
        "#trace end 0".into(),
    ]);
    assert_eq!(
        said,
        [
            "    2.000000 giver/7 grant(handle=region#2.1, via=process#4.9, mode=Share, \
             rights=READ|MAP, flags=0, deadline=never) = -3 Denied <0.000500>",
            "    3.000000 giver/7 exit(status=3) = ?",
        ]
    );
}

#[test]
fn a_call_without_an_answer_is_printed_at_the_end() {
    let mut lines = handover();
    lines.truncate(3);
    lines.push("#trace end 0".into());
    let said = strace(&lines);
    assert_eq!(said.len(), 1);
    assert!(said[0].ends_with("seen=3, deadline=never) = ?"), "{said:?}");
}

/// A call of a CPU that begins and answers at these times.
fn nop(cpu: usize, began: u64, answered: u64) -> [String; 2] {
    let (nop, thread) = (Syscall::Nop as u8, 70 + cpu as u32);
    [
        line(cpu, began, EventKind::Enter, nop, thread, &[]),
        line(cpu, answered, EventKind::Leave, nop, thread, &[]),
    ]
}

#[test]
fn calls_of_several_cpus_are_printed_in_the_order_of_their_answers() {
    let mut strace = Strace::default();
    let mut feed = |lines: &[String]| {
        let lines = lines.iter();
        let said = lines.flat_map(|line| strace.feed(line).expect("a line of a trace"));
        let threads = said.map(|line| line.split_whitespace().nth(1).map(str::to_owned));
        threads.collect::<Option<Vec<_>>>().expect("a thread")
    };
    // A batch of each CPU, as they are read.
    let batches = [
        nop(0, 100, 200),
        nop(0, 500, 600),
        nop(1, 300, 400),
        nop(1, 700, 1_200),
        nop(2, 50, 550),
    ];
    assert!(feed(&batches.concat()).is_empty(), "more may come");
    // Another CPU may yet say what it did from then on.
    let said = feed(&["#trace seen 258".into()]);
    assert_eq!(said, ["?/70", "?/71", "?/72"]);
    assert!(feed(&nop(2, 600, 650)).is_empty());
    assert_eq!(feed(&["#trace seen 3e8".into()]), ["?/70", "?/72"]);
    assert_eq!(feed(&["#trace end 0".into()]), ["?/71"]);
}

#[test]
fn what_was_held_back_is_printed_when_the_machine_stops() {
    let mut strace = Strace::default();
    let open = line(1, 900, EventKind::Enter, Syscall::Nop as u8, 9, &[]);
    for line in [nop(0, 100, 200).to_vec(), vec![open]].concat() {
        assert_eq!(strace.feed(&line), Some(vec![]));
    }
    let said = strace.finish();
    assert_eq!(
        said,
        [
            "    0.000100 ?/70 nop() = 0 <0.000100>",
            "    0.000900 ?/9 nop() = ?"
        ]
    );
    assert!(strace.finish().is_empty(), "once");
}

#[test]
fn addresses_and_words_are_in_hex_as_arguments_and_as_answers() {
    let region = Handle::new(2, 1, ObjectKind::Region).bits();
    let end = Handle::new(3, 1, ObjectKind::ChannelEnd).bits();
    let (map, call) = (Syscall::Map as u8, Syscall::ChannelCallWords as u8);
    let words = [end, 1, 10, 0, 4, FOREVER];
    let said = strace(&[
        line(0, 100, EventKind::Enter, map, 7, &[region, 0, 0, 4096]),
        line(0, 200, EventKind::Leave, map, 7, &[0x37_c040_0000]),
        line(0, 300, EventKind::Enter, call, 7, &words),
        line(0, 400, EventKind::Leave, call, 7, &[0, 2, 11, 0, 5]),
        "#trace end 0".into(),
    ]);
    assert_eq!(
        said,
        [
            "    0.000100 ?/7 map(region=region#2.1, hint=0x0, offset=0, len=4096, rights=0, \
             flags=0) = 0x37c0400000 <0.000100>",
            "    0.000300 ?/7 channel_call_words(end=channel-end#3.1, first=0x1, second=0xa, \
             third=0x0, fourth=0x4, deadline=never) = [0x2, 0xb, 0x0, 0x5] <0.000100>",
        ]
    );
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
