//! Calls as lines: what is printed of them, and in which order.

use abi::submission::Operation;
use abi::trace::{Cause, EventKind, Left};
use abi::{Error, FOREVER, Handle, Mode, ObjectKind, Rights, Syscall};
use handover_tests::strace::Strace;

use crate::traces::{line, switch, thread};

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
fn entries_of_a_ring_are_printed_when_they_are_completed() {
    let bits = Handle::new(3, 1, ObjectKind::Notification).bits();
    let number = Operation::event_number;
    let (signal, wait) = (number(Operation::Signal), number(Operation::NotifyWait));
    let (timeout, cancel) = (number(Operation::Timeout), number(Operation::Cancel));
    let [late, cancelled] = [Error::TimedOut, Error::Cancelled].map(|why| abi::encode(Err(why)));
    let said = strace(&[
        thread(0, 1, 7, "many"),
        line(0, 1_000, EventKind::Entry, signal, 7, &[bits, 4]),
        line(0, 1_500, EventKind::Completion, signal, 7, &[0, 21]),
        // It waits, and somebody ends that while a time of this thread is over.
        line(0, 2_000, EventKind::Entry, wait, 7, &[bits, FOREVER]),
        line(0, 3_000, EventKind::Entry, timeout, 7, &[2_900]),
        line(0, 3_100, EventKind::Completion, timeout, 7, &[0, 22]),
        line(0, 4_000, EventKind::Entry, cancel, 7, &[23]),
        line(0, 4_100, EventKind::Completion, wait, 7, &[cancelled, 23]),
        line(0, 4_200, EventKind::Completion, cancel, 7, &[1, 24]),
        line(0, 5_000, EventKind::Completion, 255, 7, &[late, 25]),
        "#trace end 0".into(),
    ]);
    let expected = [
        "    0.001000 many/7 entry #21 signal(notification=notification#3.1, bits=4) = 0 <0.000500>",
        "    0.003000 many/7 entry #22 timeout(deadline=2900) = 0 <0.000100>",
        "    0.004100 many/7 entry #23 notify_wait(…) = -18 Cancelled",
        "    0.004000 many/7 entry #24 cancel_entries(user_data=23) = 1 <0.000200>",
        "    0.005000 many/7 entry #25 ?(…) = -17 TimedOut",
    ];
    assert_eq!(said, expected);
}

#[test]
fn capabilities_that_are_taken_away_are_printed_with_the_reason() {
    let taken = |time, why: Cause| line(0, time, EventKind::Revoke, 0, 7, &[12, 3, why as u64]);
    let said = strace(&[
        thread(0, 1, 7, "owner"),
        taken(1_000, Cause::Revoked),
        taken(2_000, Cause::Lapsed),
        "#trace end 0".into(),
    ]);
    let expected = [
        "    0.001000 owner/7 --- object 12 loses 3 capabilities: revoked ---",
        "    0.002000 owner/7 --- object 12 loses 3 capabilities: their time is over ---",
    ];
    assert_eq!(said, expected);
}

#[test]
fn a_call_without_an_answer_is_printed_at_the_end() {
    let end = Handle::new(0, 1, ObjectKind::RingEnd).bits();
    let wait = Syscall::RingWait as u8;
    let said = strace(&[
        line(1, 1_010, EventKind::Enter, wait, 7, &[end, 3, FOREVER]),
        switch(1, 1_200, 7, 0, Left::Asleep),
        "#trace end 0".into(),
    ]);
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
