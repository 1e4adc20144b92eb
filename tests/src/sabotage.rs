//! The sabotage matrix: take one mechanism away and see that a named test fails.
//!
//! A test that still passes without the mechanism holds nothing. Noticed means that the test was
//! built, ran and failed; not building, not being there and hanging are no notice.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::build::{self, GUEST_DIRECTORY};
use crate::console;
use crate::failure::Failure;

/// By this the imitated machine learns what to do without.
const CHOICE: &str = "HANDOVER_SABOTAGE";

const TIME_LIMIT: Duration = Duration::from_secs(900);
const POLL: Duration = Duration::from_millis(20);

/// How the test of an entry is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As an ordinary test.
    Host,
    /// Under `--cfg loom`, optimised.
    Loom,
}

/// One mechanism, and the test that must fail without it.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// What the code calls it.
    pub name: &'static str,
    /// What is taken away.
    pub takes_away: &'static str,
    /// The package of the test.
    pub package: &'static str,
    /// Its file in the package's `tests/`.
    pub file: &'static str,
    /// Its full name.
    pub test: &'static str,
    /// How it is built.
    pub kind: Kind,
}

/// All entries.
pub const ENTRIES: &[Entry] = &[
    Entry {
        name: "no_remote_shootdown",
        takes_away: "the flush on other CPUs",
        package: "handover-tests",
        file: "shootdown",
        test: "a_page_cached_by_another_cpu_is_out_of_reach_after_unmap",
        kind: Kind::Host,
    },
    Entry {
        name: "no_local_flush",
        takes_away: "the flush on the CPU that edits",
        package: "handover-tests",
        file: "shootdown",
        test: "a_page_cached_by_the_same_cpu_is_out_of_reach_after_unmap",
        kind: Kind::Host,
    },
    Entry {
        name: "move_publishes_before_ack",
        takes_away: "the wait of Move for acknowledgements",
        package: "handover-tests",
        file: "transfers",
        test: "move_publishes_only_after_every_cpu_acknowledged",
        kind: Kind::Host,
    },
    Entry {
        name: "cow_keeps_write_access",
        takes_away: "the write protection of what a snapshot shares",
        package: "handover-tests",
        file: "snapshot_races",
        test: "no_cpu_can_write_what_a_snapshot_shares_once_it_is_there",
        kind: Kind::Host,
    },
    Entry {
        name: "cow_retargets_one_mapping",
        takes_away: "the new page in all mappings but the first",
        package: "handover-tests",
        file: "snapshots",
        test: "a_write_through_one_mapping_is_seen_through_the_others_of_its_side",
        kind: Kind::Host,
    },
    Entry {
        name: "clone_flushed_by_page",
        takes_away: "the flush of the other pages of a table that was cloned",
        package: "handover-tests",
        file: "snapshot_waiting",
        test: "zeros_cached_from_a_table_that_was_being_left_give_way_to_what_is_written",
        kind: Kind::Host,
    },
    Entry {
        name: "page_before_table",
        takes_away: "that who waits for a frame of its family holds none",
        package: "handover-tests",
        file: "snapshot_waiting",
        test: "writers_that_meet_at_one_empty_page_of_a_shared_table_do_not_wait_for_one_another",
        kind: Kind::Host,
    },
    Entry {
        name: "snapshot_before_ack",
        takes_away: "the wait of a snapshot for acknowledgements",
        package: "handover-tests",
        file: "snapshot_races",
        test: "what_another_cpu_writes_before_it_acknowledges_is_in_the_snapshot_and_in_the_source",
        kind: Kind::Host,
    },
    Entry {
        name: "owner_dropped_before_ack",
        takes_away: "the wait before the count of a frame's owners falls",
        package: "handover-tests",
        file: "snapshot_races",
        test: "a_side_counts_as_the_last_owner_only_when_no_cpu_of_the_other_reaches_the_page",
        kind: Kind::Host,
    },
    Entry {
        name: "shared_leaf_freed",
        takes_away: "the count of a leaf table's owners",
        package: "handover-tests",
        file: "snapshot_races",
        test: "a_leaf_table_lives_as_long_as_one_region_has_it",
        kind: Kind::Host,
    },
    Entry {
        name: "plain_store_in_shared_table",
        takes_away: "the atomic edit of a shared leaf table",
        package: "handover-tests",
        file: "snapshot_races",
        test: "a_page_that_another_owner_shows_while_a_table_is_cloned_is_not_forgotten",
        kind: Kind::Host,
    },
    Entry {
        name: "frame_freed_before_ack",
        takes_away: "the wait before the frames of given-back pages are freed",
        package: "handover-tests",
        file: "snapshot_races",
        test: "a_page_that_was_given_back_is_out_of_reach_of_every_cpu_before_its_frame_is_free",
        kind: Kind::Host,
    },
    Entry {
        name: "seal_ignored_by_the_kernel",
        takes_away: "the look at the seal when the kernel resolves a page",
        package: "handover-tests",
        file: "snapshot_races",
        test: "a_write_of_the_kernel_that_meets_a_seal_writes_nothing_behind_it",
        kind: Kind::Host,
    },
    Entry {
        name: "split_without_flush",
        takes_away: "the flush between a large leaf and the table in its place",
        package: "handover-tests",
        file: "large",
        test: "a_large_leaf_is_out_of_every_tlb_before_a_table_takes_its_place",
        kind: Kind::Host,
    },
    Entry {
        name: "right_not_checked",
        takes_away: "the check of a capability's rights",
        package: "handover-tests",
        file: "capabilities",
        test: "an_operation_without_its_right_is_denied",
        kind: Kind::Host,
    },
    Entry {
        name: "quota_not_returned",
        takes_away: "the return of what an account was charged with",
        package: "handover-tests",
        file: "quotas",
        test: "thousands_of_tiny_regions_end_with_the_quota_and_come_back",
        kind: Kind::Host,
    },
    Entry {
        name: "reply_twice",
        takes_away: "the end of a right to reply that was used",
        package: "handover-tests",
        file: "calls",
        test: "a_right_to_reply_works_once",
        kind: Kind::Host,
    },
    Entry {
        name: "failed_send_loses_handles",
        takes_away: "the way back of what a failed send had begun to hand over",
        package: "handover-tests",
        file: "channels",
        test: "a_send_that_fails_leaves_every_handle_with_the_sender",
        kind: Kind::Host,
    },
    Entry {
        name: "cycle_not_refused",
        takes_away: "the check that a channel end goes over an older channel",
        package: "handover-tests",
        file: "channels",
        test: "a_channel_end_goes_only_over_an_older_channel",
        kind: Kind::Host,
    },
    Entry {
        name: "generation_not_bumped",
        takes_away: "the new generation of a reused slot",
        package: "handover-tests",
        file: "capabilities",
        test: "a_handle_is_never_valid_twice",
        kind: Kind::Host,
    },
    Entry {
        name: "zeroing_skipped",
        takes_away: "the zeroing of a frame that enters a region",
        package: "handover-tests",
        file: "frames",
        test: "a_frame_that_enters_a_region_is_zeroed",
        kind: Kind::Host,
    },
    Entry {
        name: "poison_not_checked",
        takes_away: "the look at the poison of a frame that is taken",
        package: "handover-tests",
        file: "pool",
        test: "a_write_to_a_frame_of_a_free_run_is_noticed_wherever_it_was",
        kind: Kind::Host,
    },
    Entry {
        name: "buddies_not_merged",
        takes_away: "the merging of free blocks",
        package: "handover-tests",
        file: "pool",
        test: "runs_are_aligned_and_disjoint_and_merge_when_freed_frame_by_frame",
        kind: Kind::Host,
    },
    Entry {
        name: "kept_frames_not_collected",
        takes_away: "the search for frames that other CPUs keep",
        package: "handover-tests",
        file: "kept_frames",
        test: "what_other_cpus_keep_is_collected_for_a_run",
        kind: Kind::Host,
    },
    Entry {
        name: "wake_fence_missing",
        takes_away: "the fence between publishing and looking for sleepers",
        package: "handover-ring",
        file: "loom_slot",
        test: "a_sleeping_consumer_is_always_woken",
        kind: Kind::Loom,
    },
    Entry {
        name: "observer_trusts_lapped_slot",
        takes_away: "the second look at a slot of a trace after it was copied",
        package: "handover-ring",
        file: "loom_trace",
        test: "a_reader_is_never_given_parts_of_two_records",
        kind: Kind::Loom,
    },
    Entry {
        name: "revoke_skips_waiters",
        takes_away: "the end of waits by what is revoked",
        package: "handover-ipc",
        file: "loom_wait",
        test: "nobody_waits_by_what_has_been_revoked",
        kind: Kind::Loom,
    },
    Entry {
        name: "enlisted_without_recheck",
        takes_away: "the look at the node under the lock of the list",
        package: "handover-ipc",
        file: "loom_wait",
        test: "nobody_waits_by_what_has_been_revoked",
        kind: Kind::Loom,
    },
    Entry {
        name: "wait_completed_twice",
        takes_away: "the exchange by which the first of several ends a wait",
        package: "handover-ipc",
        file: "loom_wait",
        test: "a_signal_at_the_deadline_is_taken_or_stays",
        kind: Kind::Loom,
    },
    Entry {
        name: "event_before_enlisting_missed",
        takes_away: "the look at the object after enlisting",
        package: "handover-ipc",
        file: "loom_wait",
        test: "an_event_between_the_look_and_the_sleep_is_not_missed",
        kind: Kind::Loom,
    },
    Entry {
        name: "port_packet_lost",
        takes_away: "what happens while a packet is being taken",
        package: "handover-tests",
        file: "ports",
        test: "what_happens_while_a_packet_is_delivered_is_told_next",
        kind: Kind::Host,
    },
    Entry {
        name: "shootdown_fence_missing",
        takes_away: "the fence between an edit and the look at who is active",
        package: "handover-mm",
        file: "loom_shootdown",
        test: "a_cpu_that_enters_sees_the_edit_or_is_waited_for",
        kind: Kind::Loom,
    },
    Entry {
        name: "acknowledge_before_flush",
        takes_away: "the order of flush and acknowledgement",
        package: "handover-mm",
        file: "loom_shootdown",
        test: "a_cpu_uses_what_it_has_cached_until_it_is_told_and_not_longer",
        kind: Kind::Loom,
    },
    Entry {
        name: "root_loaded_before_active_bit",
        takes_away: "the order of the active bit and the load of a root",
        package: "handover-mm",
        file: "loom_shootdown",
        test: "a_cpu_that_enters_sees_the_edit_or_is_waited_for",
        kind: Kind::Loom,
    },
    Entry {
        name: "lock_spin_does_not_serve",
        takes_away: "the service of shootdowns while spinning for a lock",
        package: "handover-tests",
        file: "shootdown_waiting",
        test: "a_cpu_that_spins_for_a_lock_with_interrupts_off_acknowledges",
        kind: Kind::Host,
    },
    Entry {
        name: "bell_asks_nobody",
        takes_away: "the look at the authority of a timer or an interrupt at each signal",
        package: "handover-tests",
        file: "timers",
        test: "a_timer_ends_with_the_capability_that_it_was_made_with",
        kind: Kind::Host,
    },
    Entry {
        name: "timer_fires_after_drop",
        takes_away: "the end of a timer that is dropped",
        package: "handover-tests",
        file: "timers",
        test: "a_timer_that_is_dropped_sets_nothing_any_more",
        kind: Kind::Host,
    },
    Entry {
        name: "interrupt_outlives_its_object",
        takes_away: "the end of an interrupt that is dropped",
        package: "handover-tests",
        file: "interrupts",
        test: "an_interrupt_that_is_dropped_gives_its_line_back_and_sets_nothing",
        kind: Kind::Host,
    },
    Entry {
        name: "device_over_memory",
        takes_away: "the check that a device range is no memory",
        package: "handover-tests",
        file: "devices",
        test: "ranges_that_are_no_device_are_refused_and_take_nothing",
        kind: Kind::Host,
    },
    Entry {
        name: "second_policy",
        takes_away: "the refusal of a second cache policy for a frame",
        package: "handover-tests",
        file: "devices",
        test: "a_frame_has_one_policy_as_long_as_a_region_has_it",
        kind: Kind::Host,
    },
    Entry {
        name: "policy_not_in_entry",
        takes_away: "the bits of the cache policy in page-table entries",
        package: "handover-tests",
        file: "devices",
        test: "every_entry_of_a_device_region_says_its_policy",
        kind: Kind::Host,
    },
    Entry {
        name: "derive_keeps_right",
        takes_away: "that what is derived has only the rights asked for",
        package: "handover-tests",
        file: "capabilities",
        test: "deriving_only_takes_rights_away",
        kind: Kind::Host,
    },
    Entry {
        name: "accept_without_addressee_check",
        takes_away: "the look at who accepts",
        package: "handover-tests",
        file: "transfers",
        test: "a_token_is_good_once_for_its_addressee_from_its_grantor",
        kind: Kind::Host,
    },
    Entry {
        name: "accept_without_grantor_check",
        takes_away: "the look at the way a token came",
        package: "handover-tests",
        file: "transfers",
        test: "a_token_is_good_once_for_its_addressee_from_its_grantor",
        kind: Kind::Host,
    },
    Entry {
        name: "accept_twice",
        takes_away: "that a token is used up",
        package: "handover-tests",
        file: "transfers",
        test: "a_token_is_good_once_for_its_addressee_from_its_grantor",
        kind: Kind::Host,
    },
    Entry {
        name: "revoke_skips_tokens",
        takes_away: "the end of tokens in a revoke",
        package: "handover-tests",
        file: "revokes",
        test: "tokens_of_what_was_revoked_are_not_found_and_count_no_more",
        kind: Kind::Host,
    },
    Entry {
        name: "revoke_skips_one_mapping",
        takes_away: "the end of the last mapping in a revoke",
        package: "handover-tests",
        file: "revokes",
        test: "every_mapping_and_every_level_is_gone",
        kind: Kind::Host,
    },
    Entry {
        name: "revoke_skips_one_level",
        takes_away: "the way down to the last level in a revoke",
        package: "handover-tests",
        file: "revokes",
        test: "every_mapping_and_every_level_is_gone",
        kind: Kind::Host,
    },
    Entry {
        name: "revoke_others_takes_ancestor",
        takes_away: "that a Move which revokes is refused for what is above",
        package: "handover-tests",
        file: "revokes",
        test: "a_move_that_revokes_takes_no_ancestor",
        kind: Kind::Host,
    },
    Entry {
        name: "second_revoke_does_not_wait",
        takes_away: "that a revoke waits for another that is under way",
        package: "handover-tests",
        file: "revokes",
        test: "a_second_revoke_does_not_return_before_the_first_has_taken_away",
        kind: Kind::Host,
    },
    Entry {
        name: "part_not_checked",
        takes_away: "that a capability of a part stays inside it",
        package: "handover-tests",
        file: "derived",
        test: "a_part_is_all_that_can_be_reached_through_its_capability",
        kind: Kind::Host,
    },
    Entry {
        name: "deadline_not_checked",
        takes_away: "the look at the deadline of a capability",
        package: "handover-tests",
        file: "derived",
        test: "after_its_deadline_a_capability_is_dead_with_all_below_it",
        kind: Kind::Host,
    },
    Entry {
        name: "one_shot_not_used_up",
        takes_away: "the end of a one-shot capability after its use",
        package: "handover-tests",
        file: "derived",
        test: "a_one_shot_capability_is_gone_after_the_first_call_that_succeeds",
        kind: Kind::Host,
    },
    Entry {
        name: "reduce_skips_what_is_below",
        takes_away: "the rights that reduce takes from what is below",
        package: "handover-tests",
        file: "derived",
        test: "reduce_takes_rights_from_all_below_and_from_their_mappings",
        kind: Kind::Host,
    },
    Entry {
        name: "reduce_keeps_mappings",
        takes_away: "what reduce takes from mappings",
        package: "handover-tests",
        file: "derived",
        test: "reduce_takes_rights_from_all_below_and_from_their_mappings",
        kind: Kind::Host,
    },
];

/// What one run of a test came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It ran and passed.
    Passed,
    /// It ran and failed.
    Failed,
    /// There is no test of this name.
    Absent,
    /// It did not build.
    NotBuilt,
    /// It reached the time limit.
    Hung,
}

/// What the matrix says about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The test passes with the mechanism and fails without it.
    Noticed,
    /// The test does not even pass with the mechanism in place.
    Baseline(Outcome),
    /// The test did not fail without the mechanism.
    Unnoticed(Outcome),
}

impl Verdict {
    /// One cell of the matrix.
    pub fn describe(self) -> String {
        let what = |outcome| match outcome {
            Outcome::Passed => "the test passes",
            Outcome::Failed => "the test fails",
            Outcome::Absent => "no test of this name",
            Outcome::NotBuilt => "it does not build",
            Outcome::Hung => "the test hangs",
        };
        match self {
            Self::Noticed => "noticed".into(),
            Self::Baseline(outcome) => format!("UNTESTED: with all in place {}", what(outcome)),
            Self::Unnoticed(outcome) => format!("UNNOTICED: {}", what(outcome)),
        }
    }
}

impl Entry {
    /// Runs the test with and without the mechanism.
    ///
    /// # Errors
    /// When cargo can't be started.
    pub fn check(&self) -> Result<Verdict, Failure> {
        let baseline = self.run(None)?;
        if baseline != Outcome::Passed {
            return Ok(Verdict::Baseline(baseline));
        }
        Ok(match self.run(Some(self.name))? {
            Outcome::Failed => Verdict::Noticed,
            outcome => Verdict::Unnoticed(outcome),
        })
    }

    /// The compiler flags. The host tests are built once, with every sabotage in them; what loom
    /// explores is built for each.
    pub fn flags(&self, sabotage: Option<&str>) -> String {
        match (self.kind, sabotage) {
            (Kind::Host, _) => "--cfg sabotage".into(),
            (Kind::Loom, None) => "--cfg loom".into(),
            (Kind::Loom, Some(name)) => format!("--cfg loom --cfg sabotage=\"{name}\""),
        }
    }

    fn command(&self, sabotage: Option<&str>) -> Command {
        let target = build::repository().join("target/sabotage");
        let mut command = build::cargo();
        command.args(["test", "--package", self.package, "--test", self.file]);
        if self.kind == Kind::Loom {
            command.arg("--release");
        }
        command
            .arg("--target-dir")
            .arg(&target)
            .args(["--", "--exact", self.test])
            .env("RUSTFLAGS", self.flags(sabotage))
            .env(CHOICE, sabotage.unwrap_or_default())
            .env(GUEST_DIRECTORY, target.join("guest"))
            .stdin(Stdio::null());
        command
    }

    fn run(&self, sabotage: Option<&str>) -> Result<Outcome, Failure> {
        let output = bounded_output(self.command(sabotage))?;
        let Some((said, complaints)) = output else {
            return Ok(Outcome::Hung);
        };
        let outcome = outcome(&said, self.test);
        if outcome == Outcome::NotBuilt {
            console::complain(complaints.trim_end());
        }
        Ok(outcome)
    }
}

/// Reads what became of `test` from the output of libtest.
pub fn outcome(output: &str, test: &str) -> Outcome {
    let result = output.lines().find_map(|line| {
        let rest = line.strip_prefix("test ")?.strip_prefix(test)?;
        // libtest says so behind the names of such tests.
        rest.strip_prefix(" - should panic")
            .unwrap_or(rest)
            .strip_prefix(" ... ")
    });
    match result {
        Some("ok") => Outcome::Passed,
        Some("FAILED") => Outcome::Failed,
        _ if output.lines().any(|line| line.starts_with("test result:")) => Outcome::Absent,
        _ => Outcome::NotBuilt,
    }
}

/// What `command` wrote to its two outputs; `None` when it and its children were killed at the
/// limit.
fn bounded_output(mut command: Command) -> Result<Option<(String, String)>, Failure> {
    let not_started = |error| Failure::failed(format!("cargo can't be started: {error}"));
    // A group of its own, so that a hanging test dies with the cargo that started it.
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(not_started)?;
    let output = child.stdout.take().map(read_all);
    let complaints = child.stderr.take().map(read_all);
    let deadline = Instant::now() + TIME_LIMIT;
    while child.try_wait().map_err(not_started)?.is_none() {
        if Instant::now() >= deadline {
            let group = rustix::process::Pid::from_child(&child);
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            let _ = child.wait();
            return Ok(None);
        }
        std::thread::sleep(POLL);
    }
    let text = |reader: Option<JoinHandle<String>>| {
        reader
            .and_then(|reader| reader.join().ok())
            .unwrap_or_default()
    };
    Ok(Some((text(output), text(complaints))))
}

/// Reads `source` to its end in a thread of its own.
fn read_all(mut source: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = source.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::{ENTRIES, Outcome, outcome};

    #[test]
    fn the_output_of_libtest_is_understood() {
        let ran =
            |result: &str| format!("\nrunning 1 test\ntest a::b ... {result}\n\ntest result: …\n");
        assert_eq!(outcome(&ran("ok"), "a::b"), Outcome::Passed);
        assert_eq!(outcome(&ran("FAILED"), "a::b"), Outcome::Failed);
        assert_eq!(outcome(&ran("ok"), "a"), Outcome::Absent);
        assert_eq!(
            outcome("running 0 tests\n\ntest result: ok. 0 passed", "a"),
            Outcome::Absent
        );
        assert_eq!(outcome("", "a"), Outcome::NotBuilt);
    }

    #[test]
    fn names_of_entries_are_unique() {
        for (index, entry) in ENTRIES.iter().enumerate() {
            assert!(
                ENTRIES[..index]
                    .iter()
                    .all(|other| other.name != entry.name)
            );
        }
    }
}
