//! Handover in its machine: the demonstration on awkward sizes, CPU counts and models, the guest
//! suites, and the exit status of a program. No test looks at the clock; a hang is the only limit.

use crate::machines::{boot, exec, said, status};
use handover_tests::build::Profile;
use handover_tests::demo;
use handover_tests::machine::Machine;
use handover_tests::options::Job;
use handover_tests::qemu::Run;
use handover_tests::suite;
use programs::cases::{CASES, is_taken};
use programs::entries::Entries;

/// Bytes in which no two pages are alike.
fn bytes(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_be_bytes()[0]
    })
    .take(length)
    .collect()
}

fn demonstrate(profile: Profile, machine: &Machine, length: usize) {
    let input = bytes(length);
    let run = boot(profile, machine, &input, &Job::Demo);
    let status = status(&run);
    let verdict = demo::judge(&run.transcript, &input, machine);
    let said = said(&run);
    assert!(
        verdict.problems.is_empty(),
        "{length} bytes: {:?}\n{said}",
        verdict.problems
    );
    assert_eq!(status, 0, "{length} bytes\n{said}");
}

#[test]
fn small_files_arrive_intact() {
    for length in [0, 1, 4095, 4096, 4097] {
        demonstrate(Profile::GuestChecked, &Machine::default(), length);
    }
}

#[test]
fn files_around_a_leaf_table_arrive_intact() {
    let leaf = 2 << 20;
    for length in [leaf - 1, leaf, leaf + 1] {
        demonstrate(Profile::GuestChecked, &Machine::default(), length);
    }
}

#[test]
fn a_large_file_arrives_intact() {
    demonstrate(Profile::Guest, &Machine::default(), 64 << 20);
}

#[test]
fn one_to_eight_cpus_hand_a_file_over() {
    for cpus in 1..=8 {
        demonstrate(
            Profile::GuestChecked,
            &Machine {
                cpus,
                ..Machine::default()
            },
            10_000,
        );
    }
}

#[test]
fn a_cpu_without_the_newer_protections_hands_a_file_over() {
    let machine = Machine {
        cpu_model: "qemu64".into(),
        ..Machine::default()
    };
    demonstrate(Profile::GuestChecked, &machine, 10_000);
}

#[test]
fn two_numa_nodes_hand_a_file_over() {
    let machine = Machine {
        numa_nodes: 2,
        ..Machine::default()
    };
    demonstrate(Profile::GuestChecked, &machine, 10_000);
}

#[test]
fn memory_comes_from_the_node_that_was_asked_for_on_machines_of_one_to_four_nodes() {
    for nodes in [1, 2, 4] {
        let machine = Machine {
            cpus: 4,
            memory_mib: Some(256),
            numa_nodes: nodes,
            ..Machine::default()
        };
        run_cases(&machine, Some("nodes"));
    }
}

#[test]
fn all_memory_that_the_machine_has_is_accounted_for() {
    for (memory_mib, numa_nodes) in [(128, 1), (1024, 2)] {
        let machine = Machine {
            memory_mib: Some(memory_mib),
            numa_nodes,
            ..Machine::default()
        };
        let run = run_cases(&machine, Some("system.memory"));
        let line = run.transcript.records("memory").last();
        let usable = line.and_then(|line| line.number("usable")).expect("a line");
        // All but what the firmware and the video memory below 1 MiB take.
        let frames = memory_mib * 256;
        assert!((frames - 256..=frames).contains(&usable), "{usable}");
    }
}

fn run_cases(machine: &Machine, filter: Option<&str>) -> Run {
    run_share(machine, filter, None)
}

fn run_share(machine: &Machine, filter: Option<&str>, share: Option<Entries>) -> Run {
    let run = boot(
        Profile::GuestChecked,
        &machine.clone().for_suite(),
        &bytes(10_000),
        &Job::Suite(filter.map(str::to_owned), share),
    );
    let status = status(&run);
    let problems = suite::judge(&run.transcript);
    let said = said(&run);
    assert!(problems.is_empty(), "{problems:?}\n{said}");
    assert_eq!(status, 0, "{said}");
    run
}

#[test]
fn the_suite_passes_on_two_cpus() {
    run_cases(&Machine::default(), None);
}

#[test]
fn what_is_in_no_schedule_of_four_cpus_passes_there() {
    let machine = Machine {
        cpus: 4,
        ..Machine::default()
    };
    let rest = other_groups(&[CONCURRENT, TOGETHER, SERVED, ENDED]);
    run_cases(&machine, Some(&rest));
}

/// But who ends at every moment, which no protection has to do with and takes as long as all else.
#[test]
fn the_suite_passes_on_a_cpu_without_the_newer_protections() {
    let machine = Machine {
        cpu_model: "qemu64".into(),
        ..Machine::default()
    };
    run_cases(&machine, Some(&other_groups(&[ENDED])));
}

/// Takes the groups of which some case is not in these filters.
fn other_groups(than: &[&str]) -> String {
    let others = CASES
        .iter()
        .filter(|(id, _)| !than.iter().any(|filter| is_taken(filter, id)));
    let mut groups: Vec<&str> = others
        .filter_map(|(id, _)| Some(id.split_once('.')?.0))
        .collect();
    groups.dedup();
    groups
        .iter()
        .map(|group| format!("{group}.,"))
        .collect::<String>()
        .trim_end_matches(',')
        .to_owned()
}

#[test]
fn records_for_which_no_memory_is_left_are_refused_by_a_kernel_whose_heap_is_small() {
    run_cases(&Machine::default(), Some("snapshots.records"));
}

/// The groups whose cases depend on which CPU does what first.
const CONCURRENT: &str = "memory.,transfers.,snapshots.,capabilities.revoke";

/// The same of what they say to one another, and of how they end.
const TOGETHER: &str = "races.,waiting.,channels.,halves.,threads.,supervision.,derived.";

/// And of what serves them, and what they are served with.
const SERVED: &str = "services.,rings.,timers.,trace.,priorities.,processes.,quotas.,submissions.";

/// And of what becomes of those who work together when one of them ends, at every moment in turn.
const ENDED: &str = "hubs.,drivers.,examples.,fuses.,demos.";

/// At every third moment: without a schedule all of them have their turn, in one boot.
fn share(turn: u32) -> Entries {
    format!("{turn}/3").parse().expect("a share")
}

/// Runs cases that depend on it in a schedule of its own seed, or in as many from it on as `HANDOVER_SEEDS` says:
/// `make proof` runs ten.
fn run_schedules(cpus: u32, cases: &str, first: u64) {
    run_schedules_of(cpus, cases, first, None);
}

/// The same of a share, where one seed is all.
fn run_schedules_of(cpus: u32, cases: &str, first: u64, share: Option<Entries>) {
    let count = std::env::var("HANDOVER_SEEDS").ok();
    let count = count.map_or(1, |count| count.parse().expect("a number of seeds"));
    let share = share.filter(|_| count == 1);
    for seed in first..first + count {
        let machine = Machine {
            cpus,
            seed: Some(seed),
            ..Machine::default()
        };
        run_share(&machine, Some(cases), share);
    }
}

#[test]
fn memory_is_handed_over_whole_in_schedules_of_two_cpus() {
    run_schedules(2, CONCURRENT, 0);
}

#[test]
fn memory_is_handed_over_whole_in_schedules_of_four_cpus() {
    run_schedules(4, CONCURRENT, 10);
}

#[test]
fn processes_wait_and_speak_in_schedules_of_two_cpus() {
    run_schedules(2, TOGETHER, 20);
}

#[test]
fn processes_wait_and_speak_in_schedules_of_four_cpus() {
    run_schedules(4, TOGETHER, 30);
}

#[test]
fn services_and_rings_keep_their_promises_in_schedules_of_two_cpus() {
    run_schedules(2, SERVED, 40);
}

#[test]
fn services_and_rings_keep_their_promises_in_schedules_of_four_cpus() {
    run_schedules(4, SERVED, 50);
}

#[test]
fn whoever_ends_leaves_nothing_behind_in_schedules_of_two_cpus() {
    run_schedules_of(2, ENDED, 60, Some(share(1)));
}

#[test]
fn whoever_ends_leaves_nothing_behind_in_schedules_of_four_cpus() {
    run_schedules_of(4, ENDED, 70, Some(share(2)));
}

#[test]
fn a_seeded_run_repeats_exactly() {
    let machine = Machine {
        seed: Some(42),
        ..Machine::default()
    };
    let [first, second] =
        [(); 2].map(|()| boot(Profile::GuestChecked, &machine, &bytes(10_000), &Job::Demo));
    assert_eq!(status(&first), 0);
    assert_eq!(first.transcript.lines(), second.transcript.lines());
}

#[test]
fn the_size_of_a_ring_is_limited_by_memory_and_not_by_the_kernel_heap() {
    let machine = Machine {
        memory_mib: Some(512),
        ..Machine::default()
    };
    let run = boot(
        Profile::GuestChecked,
        &machine,
        b"",
        &exec("suite large-ring"),
    );
    assert_eq!(status(&run), 0);
}

#[test]
fn the_status_of_a_program_passes_through_whatever_it_printed_last() {
    let run = boot(
        Profile::GuestChecked,
        &Machine::default(),
        b"",
        &exec("suite murmur"),
    );
    assert_eq!(status(&run), 7);
    let lines = run.transcript.lines();
    assert!(
        lines.iter().any(|line| line == "no end of line"),
        "{lines:?}"
    );
}

#[test]
fn the_status_of_a_program_passes_through() {
    for expected in [0_u8, 7, 255] {
        let job = exec(&format!("suite exit {expected}"));
        let run = boot(Profile::GuestChecked, &Machine::default(), b"", &job);
        assert_eq!(status(&run), expected);
    }
}
