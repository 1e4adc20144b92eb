//! Every structure that crosses the boundary, field by field, is as it was when the layout was agreed on.
//!
//! The file has a line for each structure, with its bytes, and one for each field: offset, bytes, name.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use handover_abi::{
    CapInfo, ChannelEnds, ChannelInfo, DeriveArgs, FaultInfo, HandleTransfer, InterruptInfo,
    Message, NodeFrames, ObjectInfo, PortPacket, ProcessInfo, ProcessStatus, RegionInfo,
    ResourceInfo, Resources, RingEnds, RingGeometry, RingInfo, SpawnArgs, StartInfo, SystemInfo,
    ThreadArgs, ThreadInfo, hub, ring, statistics, submission, trace,
};

/// Bytes of a field.
const fn bytes<Whole, Field>(_: fn(&Whole) -> &Field) -> usize {
    size_of::<Field>()
}

macro_rules! layouts {
    ($($name:path { $($field:ident),* })*) => {
        /// The text of the file.
        fn layouts() -> String {
            let mut text = String::new();
            $(
                // A field that is missing in the list does not compile.
                let _all = |whole: &$name| {
                    let $name { $($field: _),* } = whole;
                };
                let name = stringify!($name).replace(' ', "");
                writeln!(text, "{name} {}", size_of::<$name>()).unwrap();
                let fields = [$((
                    core::mem::offset_of!($name, $field),
                    bytes(|whole: &$name| &whole.$field),
                    stringify!($field),
                )),*];
                for (offset, bytes, field) in fields {
                    writeln!(text, "{offset:6} {bytes:4} {field}").unwrap();
                }
            )*
            text
        }
    };
}

layouts! {
    ChannelEnds { first, second }
    Message { bytes, bytes_len, handles, handles_len, reply, badge }
    ChannelInfo { koid, peer, capacity, queued, peer_queued, peer_closed, message_rate, byte_rate }
    SpawnArgs { image, name, name_len, args, args_len, handles, handles_len, cpus, quota, priority, flags }
    StartInfo { version, args, args_len, handles, handles_len, image_base }
    ProcessStatus { state, status, vector, error_code, address, instruction }
    ProcessInfo { koid, syscalls, faults, handles, mappings, state, cpu, used, quota }
    ThreadArgs { entry, stack, argument, tls, cpus, priority, reserved }
    ThreadInfo { koid, process, syscalls, faults, state, cpu, priority, reserved }
    FaultInfo { thread, address, instruction, stack, vector, error_code }
    HandleTransfer { handle, mode, rights }
    Resources { frames, tables, bytes }
    RegionInfo { koid, len, present_pages, leaf_tables, mappings, kind, sealed, large_leaves, shared_leaves, pins, lost, physical_address }
    CapInfo { koid, rights, kind, descendants, badge, deadline, offset, len, nodes_left, flags }
    DeriveArgs { rights, flags, offset, len, badge, deadline, max_nodes, reserved }
    ObjectInfo { koid, kind, capabilities, messages, bytes, wakes, waits, faults, transfers, refusals }
    PortPacket { key, value, events, count }
    NodeFrames { total, free, given_as_asked, given_elsewhere, given_unasked }
    SystemInfo { cpus, nodes, cpu, processes, frames_total, frames_free, frames_reserved, frames_boot, frames_heap, heap_used, syscalls, faults, interrupts, shootdowns, instructions, objects, frames_usable, frames_unused, memory_nodes, charged, stray_interrupts }
    ResourceInfo { address, len, configuration, configuration_len }
    InterruptInfo { address, data, reserved }
    RingGeometry { kind, slot_size, capacity, form, start, reserved }
    RingEnds { producer, consumer }
    RingInfo { geometry, epoch, end, producer_state, consumer_state, tail, head }
    ring::Header { magic, version, kind, form, slot_size, capacity, start, epoch, reserved, producer_state, consumer_state, reserved_after }
    ring::IndexPage { index, reserved, waits_until, reserved_after }
    hub::HubGeometry { guests, kind, slot_size, to_host, to_guest, reserved, heartbeat_ns }
    hub::HubHandles { hub, table }
    hub::HubSeat { peer, epoch }
    hub::HubGuestEnds { producer, consumer, table }
    hub::HubPeers { bits }
    hub::HubInfo { geometry, reserved, attached, leaving, goodbye }
    submission::SubmissionArgs { entries, completions, flags, idle_us, cpus, start, reserved }
    submission::SubmissionViews { submissions, completions }
    submission::SubmissionInfo { entries, completions, flags, pending, taken, posted }
    submission::Submission { operation, flags, reserved, user_data, arguments }
    submission::Completion { user_data, result, operation, reserved, reserved_after }
    submission::SubmissionHeader { magic, version, entry_size, capacity, reserved, notes, reserved_after }
    trace::Header { magic, cpus, slots, started_ns, state, reserved }
    statistics::Header { magic, cpus, stride }
    statistics::CpuStatistics { calls, refusals, faults, interrupts, switches, wakes, timeouts, shootdowns, messages, bytes, waits, handed, transfers, at_once, reserved }
}

#[test]
fn every_structure_has_this_layout() {
    let found = layouts();
    let golden = include_str!("golden/structures.txt");
    assert!(found == golden, "the layout has changed:\n{found}");
}

/// The structures with a layout that are declared below a directory.
fn declared(directory: &Path, names: &mut Vec<String>) {
    for entry in fs::read_dir(directory).expect("it is a directory") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            declared(&path, names);
            continue;
        }
        let text = fs::read_to_string(path).expect("it is text");
        let declarations = text.split("#[repr(C)]\npub struct ").skip(1);
        names.extend(declarations.filter_map(|rest| rest.split(' ').next().map(str::to_owned)));
    }
}

#[test]
fn no_structure_is_missing() {
    let mut names = Vec::new();
    declared(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut names,
    );
    let text = layouts();
    let listed = text.lines().filter(|line| !line.starts_with(' '));
    assert_eq!(listed.count(), names.len());
    for name in names {
        let is_listed = text.lines().any(|line| {
            let whole = line.split(' ').next().unwrap_or_default();
            whole.rsplit("::").next() == Some(&name)
        });
        assert!(is_listed, "{name}");
    }
}

#[test]
fn no_structure_has_bytes_between_its_fields() {
    let text = layouts();
    let mut whole = ("", 0);
    let mut end = 0;
    for line in text.lines().chain(["end 0"]) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| words[at].parse::<usize>().expect("a number");
        if line.starts_with(' ') {
            assert_eq!(number(0), end, "{}: {}", whole.0, words[2]);
            end += number(1);
        } else {
            assert_eq!(end, whole.1, "{}", whole.0);
            (whole, end) = ((words[0], number(1)), 0);
        }
    }
}
