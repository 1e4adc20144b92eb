//! The mechanisms that can be taken away, and the test that must fail without each.

use super::{Entry, Kind};

/// Lists entries by how their tests are built and in which package they are:
/// `name: "what is taken away", file::test;`.
macro_rules! entries {
    ($($kind:ident $package:literal {
        $($name:ident: $takes_away:literal, $file:ident::$test:ident;)*
    })*) => {
        /// All entries.
        pub const ENTRIES: &[Entry] = &[$($(Entry {
            name: stringify!($name),
            takes_away: $takes_away,
            package: $package,
            file: stringify!($file),
            test: stringify!($test),
            kind: Kind::$kind,
        },)*)*];
    };
}

entries! {
    Host "handover-tests" {
        no_remote_shootdown: "the flush on other CPUs",
            shootdown::a_page_cached_by_another_cpu_is_out_of_reach_after_unmap;
        who_has_left_is_asked: "the look which CPUs have a space loaded still",
            shootdown_waiting::only_cpus_that_run_the_space_are_interrupted;
        no_local_flush: "the flush on the CPU that edits",
            shootdown::a_page_cached_by_the_same_cpu_is_out_of_reach_after_unmap;
        move_publishes_before_ack: "the wait of Move for acknowledgements",
            moves::move_publishes_only_after_every_cpu_acknowledged;
        cow_keeps_write_access: "the write protection of what a snapshot shares",
            snapshot_races::no_cpu_can_write_what_a_snapshot_shares_once_it_is_there;
        cow_retargets_one_mapping: "the new page in all mappings but the first",
            snapshots::a_write_through_one_mapping_is_seen_through_the_others_of_its_side;
        clone_flushed_by_page: "the flush of the other pages of a table that was cloned",
            snapshot_waiting::zeros_cached_from_a_table_that_was_being_left_give_way_to_what_is_written;
        page_before_table: "that who waits for a frame of its family holds none",
            snapshot_waiting::writers_that_meet_at_one_empty_page_of_a_shared_table_do_not_wait_for_one_another;
        snapshot_before_ack: "the wait of a snapshot for acknowledgements",
            snapshot_races::what_another_cpu_writes_before_it_acknowledges_is_in_the_snapshot_and_in_the_source;
        owner_dropped_before_ack: "the wait before the count of a frame's owners falls",
            snapshot_races::a_side_counts_as_the_last_owner_only_when_no_cpu_of_the_other_reaches_the_page;
        gap_not_forgotten: "that what is mapped elsewhere makes the first free place unknown",
            mappings::a_mapping_without_a_wish_goes_to_the_first_place_that_is_large_enough;
        shared_leaf_freed: "the count of a leaf table's owners",
            snapshot_races::a_leaf_table_lives_as_long_as_one_region_has_it;
        plain_store_in_shared_table: "the atomic edit of a shared leaf table",
            snapshot_races::a_page_that_another_owner_shows_while_a_table_is_cloned_is_not_forgotten;
        frame_freed_before_ack: "the wait before the frames of given-back pages are freed",
            snapshot_races::a_page_that_was_given_back_is_out_of_reach_of_every_cpu_before_its_frame_is_free;
        seal_ignored_by_the_kernel: "the look at the seal when the kernel resolves a page",
            snapshot_races::a_write_of_the_kernel_that_meets_a_seal_writes_nothing_behind_it;
        split_without_flush: "the flush between a large leaf and the table in its place",
            large::a_large_leaf_is_out_of_every_tlb_before_a_table_takes_its_place;
        right_not_checked: "the check of a capability's rights",
            capabilities::an_operation_without_its_right_is_denied;
        quota_not_returned: "the return of what an account was charged with",
            quotas::thousands_of_tiny_regions_end_with_the_quota_and_come_back;
        words_for_who_takes_none: "the look whether a caller takes four words",
            calls::four_words_are_no_answer_for_who_takes_less;
        reply_twice: "the end of a right to reply that was used",
            calls::a_right_to_reply_works_once;
        refused_answer_uses_up_right: "the way back of a right to reply whose use is refused",
            calls::a_server_that_names_a_wrong_end_has_not_answered;
        kept_place_is_free: "that the place of a right to reply is kept for the next",
            calls::what_is_made_while_a_server_waits_takes_no_place_that_is_kept;
        wake_not_counted: "the count of waits that were ended",
            traffic::each_thing_counts_once_at_its_object_and_once_for_the_system;
        wait_that_is_over_not_counted: "the count of a wait whose event came as it began",
            traffic::a_wait_whose_event_comes_as_it_begins_counts_once_for_both;
        woken_without_end: "the end of a wake of many who wait again at once",
            waits::who_waits_again_as_fast_as_it_is_woken_is_woken_once;
        grant_outlives_its_end: "the way back of grants when the end closes at which they can be accepted",
            grants_at_ends::a_grant_comes_back_when_the_end_at_which_it_could_be_accepted_closes;
        failed_send_loses_handles: "the way back of what a failed send had begun to hand over",
            channels::a_send_that_fails_leaves_every_handle_with_the_sender;
        taken_unseen: "the look whether the message that was shown is still the next",
            receivers::what_is_taken_is_what_was_shown_last;
        reply_registered: "that a right to reply is registered nowhere",
            late_entries::no_entry_reaches_a_later_call_by_the_right_to_answer_an_earlier_one;
        pending_not_charged: "the charge of what is offered to its sender",
            grants::the_sender_pays_for_what_is_pending_until_it_is_accepted;
        pending_charged_to_addressee: "that the addressee pays for nothing that it has not accepted",
            grants::the_sender_pays_for_what_is_pending_until_it_is_accepted;
        receiver_not_charged: "the charge of what was received to its receiver",
            receivers::who_receives_a_capability_pays_for_it_from_then_on;
        cycle_not_refused: "the check that a channel end goes over an older channel",
            channel_ends::a_channel_end_goes_only_over_an_older_channel;
        generation_not_bumped: "the new generation of a reused slot",
            capabilities::a_handle_is_never_valid_twice;
        kv_done_again: "that a request which comes again is not done again",
            kv::the_server_keeps_what_plain_maps_would;
        kv_not_written_down: "the record of a request in the journal",
            kv::a_server_that_is_started_again_goes_on_where_the_last_one_ended;
        kv_last_forgotten: "what each account asked last, in a journal that begins anew",
            kv::a_journal_begins_anew_as_often_as_it_has_to;
        logs_ended_awaited: "that nobody waits for a writer that has ended",
            logs::lines_are_told_once_in_order_whoever_ends_where;
        logs_writer_comes_back: "that nobody is taken for a writer that has come and gone, or that there is not",
            logs::a_ring_is_the_writers_that_it_names_first_and_nobody_is_a_writer_twice;
        logs_waits_beside_silent_rings: "the end of a collector when all was heard, whoever has a ring and says nothing",
            logs::a_collector_ends_beside_rings_that_say_nothing_when_all_was_heard;
        search_cut_anywhere: "that a part of a file ends where a line does",
            search::what_is_found_in_the_parts_is_what_is_in_the_file;
        zeroing_skipped: "the zeroing of a frame that enters a region",
            frames::a_frame_that_enters_a_region_is_zeroed;
        poison_not_checked: "the look at the poison of a frame that is taken",
            pool::a_write_to_a_frame_of_a_free_run_is_noticed_wherever_it_was;
        buddies_not_merged: "the merging of free blocks",
            pool::runs_are_aligned_and_disjoint_and_merge_when_freed_frame_by_frame;
        kept_frames_not_collected: "the search for frames that other CPUs keep",
            kept_frames::what_other_cpus_keep_is_collected_for_a_run;
        faults_held_by_anybody: "that only who may have a process go on keeps it from its end by a fault",
            ports::faults_are_told_to_nobody_who_could_not_have_the_process_go_on;
        faults_held_by_an_entry: "that no entry of a ring keeps a process from its end by a fault",
            ports::faults_are_told_to_nobody_who_could_not_have_the_process_go_on;
        reply_stays_reduced: "that a right to reply is whole for each call",
            lent_rights::a_right_that_a_server_reduced_is_whole_at_its_next_call;
        port_packet_lost: "what happens while a packet is being taken",
            ports::what_happens_while_a_packet_is_delivered_is_told_next;
        lock_spin_does_not_serve: "the service of shootdowns while spinning for a lock",
            shootdown_waiting::a_cpu_that_spins_for_a_lock_with_interrupts_off_acknowledges;
        bell_asks_nobody: "the look at the authority of a timer or an interrupt at each signal",
            timers::a_timer_ends_with_the_capability_that_it_was_made_with;
        timer_fires_after_drop: "the end of a timer that is dropped",
            timers::a_timer_that_is_dropped_sets_nothing_any_more;
        interrupt_outlives_its_object: "the end of an interrupt that is dropped",
            interrupts::an_interrupt_that_is_dropped_gives_its_line_back_and_sets_nothing;
        line_connected_before_it_is_sure: "that the line of an interrupt which is refused need not rest",
            interrupts::what_is_refused_takes_no_line;
        device_over_memory: "the check that a device range is no memory",
            devices::ranges_that_are_no_device_are_refused_and_take_nothing;
        second_policy: "the refusal of a second cache policy for a frame",
            devices::a_frame_has_one_policy_as_long_as_a_region_has_it;
        policy_not_in_entry: "the bits of the cache policy in page-table entries",
            devices::every_entry_of_a_device_region_says_its_policy;
        derive_keeps_right: "that what is derived has only the rights asked for",
            capabilities::deriving_only_takes_rights_away;
        accept_without_addressee_check: "the look at who accepts",
            transfers::a_token_is_good_once_for_its_addressee_from_its_grantor;
        accept_without_grantor_check: "the look at the way a token came",
            transfers::a_token_is_good_once_for_its_addressee_from_its_grantor;
        accept_twice: "that a token is used up",
            transfers::a_token_is_good_once_for_its_addressee_from_its_grantor;
        revoke_skips_tokens: "the end of tokens in a revoke",
            revokes::tokens_of_what_was_revoked_are_not_found_and_count_no_more;
        revoke_skips_meetings: "the end of calls that met their server in a revoke",
            meetings::a_call_ends_when_its_capability_is_revoked;
        who_served_is_taken_for_who_serves: "the number of the wait of who serves",
            meetings::who_served_and_waits_elsewhere_is_not_taken_for_who_serves;
        short_answer_by_any_name: "the name of a right to reply where its call is answered by halves",
            halves::an_answer_by_another_name_or_process_begins_nothing;
        short_answer_by_any_process: "whose a right to reply is where its call is answered by halves",
            halves::an_answer_by_another_name_or_process_begins_nothing;
        short_way_by_any_generation: "the name of a channel end where calls are made by halves",
            halves::an_end_by_another_name_begins_nothing;
        lent_right_is_always_there: "that a lent right to reply is nowhere while no call is under way",
            loans::a_call_is_answered_once_by_its_own_name_alone;
        old_loan_counts: "the number of a loan at the place that has what is lent",
            loans::a_right_goes_where_its_task_calls_and_the_places_that_had_it_stand_for_nothing;
        any_loan_meets: "that a call by a loan goes to who has what is lent",
            loans::a_right_goes_where_its_task_calls_and_the_places_that_had_it_stand_for_nothing;
        lent_right_outlives_its_task: "that a task which ends takes back what it lent",
            loans::who_ends_pays_for_no_right_that_it_lent_though_its_server_sleeps;
        lost_right_stays_charged: "that nobody pays for a right to reply which has ended",
            lent_rights::nobody_pays_for_a_right_that_ended_elsewhere_while_a_server_sleeps_that_had_it;
        named_when_looked_up: "that a capability which is reduced or told about stays where its handle leads",
            lent_rights::a_look_that_comes_late_finds_no_later_call;
        revoke_skips_who_is_ready: "the look of who is ready for a message at its capability after a revoke",
            channel_ends::who_waits_through_a_revoked_end_is_told;
        parked_not_settled: "the end of a node that its holder has given up where it is, before others look at its tree",
            capabilities::what_was_dropped_costs_nothing_and_counts_in_no_revoke;
        parked_stays_charged: "that a node which nobody has use of costs nothing",
            capabilities::what_was_dropped_costs_nothing_and_counts_in_no_revoke;
        first_departure_counts: "the capabilities that were given away behind the one which a task was woken for",
            ready::who_waits_is_told_that_its_capability_left_whoever_left_before_and_after;
        back_before_looked: "what who receives is told of a capability that was given away and came back",
            ended_waits::every_wait_ends_by_all_that_ends_it_and_says_why;
        who_serves_is_forgotten: "that a channel end may be waited by without a reference to it",
            meetings::who_serves_is_told_what_becomes_of_its_capability;
        revoke_in_one_hold: "that a revoke lets go of its region after each step",
            long_revokes::a_revoke_of_many_mappings_leaves_the_region_to_others_between_its_steps;
        revoke_skips_one_mapping: "the end of the last mapping in a revoke",
            revokes::every_mapping_and_every_level_is_gone;
        revoke_skips_one_level: "the way down to the last level in a revoke",
            revokes::every_mapping_and_every_level_is_gone;
        revoke_from_the_top: "that what is below is gone down to once",
            deep_trees::a_chain_is_taken_away_in_steps_that_grow_as_it_does;
        each_climbs_to_the_top: "that a Move which revokes goes through what is below once",
            deep_trees::a_move_that_revokes_goes_through_what_is_below_once;
        round_for_each_mapping: "that a revoke interrupts CPUs once for all mappings",
            revokes::a_revoke_is_one_round_for_all_its_spaces_and_mappings;
        revoke_others_takes_ancestor: "that a Move which revokes is refused for what is above",
            revokes::a_move_that_revokes_takes_no_ancestor;
        process_named_while_it_is_made: "that nobody can name a process before it has all that it is given",
            transfers::nobody_can_name_a_process_before_it_has_all_that_it_is_given;
        second_revoke_does_not_wait: "that a revoke waits for another that is under way",
            revokes::a_second_revoke_does_not_return_before_the_first_has_taken_away;
        part_not_checked: "that a capability of a part stays inside it",
            derived::a_part_is_all_that_can_be_reached_through_its_capability;
        deadline_not_checked: "the look at the deadline of a capability",
            limited::after_its_deadline_a_capability_is_dead_with_all_below_it;
        one_shot_not_used_up: "the end of a one-shot capability after its use",
            limited::a_one_shot_capability_is_gone_after_the_first_call_that_succeeds;
        one_shot_used_by_two: "that one call at a time uses a one-shot capability",
            limited::a_one_shot_capability_is_gone_after_the_first_call_that_succeeds;
        one_shot_looked_up_once: "that a call may look its one-shot capability up again",
            limited::a_call_that_looks_its_one_shot_capability_up_twice_is_made_as_by_any_other;
        lasting_by_one_shot: "that nothing lasting is made by a capability for one use",
            limited::nothing_that_lasts_as_long_as_its_capability_is_made_by_one_for_one_use;
        revoke_takes_what_is_moved: "that a revoke leaves what is on its way to who moves it",
            moves::what_is_about_to_move_and_is_refused_keeps_its_mappings_though_a_relative_is_revoked;
        moved_is_narrowed_at_once: "that what is about to move keeps what it had until it is taken away",
            moves::what_is_about_to_move_and_is_refused_keeps_its_mappings_though_a_relative_is_reduced;
        pin_refuses_what_was_decided: "that a Move which has revoked is not refused any more",
            moves::a_move_that_revokes_is_refused_by_a_pin_before_it_has_revoked_or_not_at_all;
        reduce_keeps_pins: "the pins that reduce takes back",
            snapshot_transfers::pins_go_with_the_capability_that_they_were_made_under;
        watches_taken_by_anybody: "the places for bindings of an object's first capability",
            port_ends::who_may_wait_for_an_object_leaves_room_for_who_has_its_first_capability;
        reduce_skips_what_is_below: "the rights that reduce takes from what is below",
            derived::reduce_takes_rights_from_all_below_and_from_their_mappings;
        reduce_keeps_mappings: "what reduce takes from mappings",
            derived::reduce_takes_rights_from_all_below_and_from_their_mappings;
        ring_sleeper_without_barrier: "the barrier of who goes to sleep at an asymmetric ring",
            ring_sleep::a_sleeper_sees_what_its_peer_had_written_and_not_made_visible;
        ring_holder_not_rechecked: "the look at who has the other end of a ring, after the barrier",
            ring_sleep::an_end_that_moves_meanwhile_is_looked_at_where_it_is;
        ring_looked_at_before_asking: "that who goes to sleep at a ring asks where its peer runs before it looks",
            ring_sleep::what_a_peer_publishes_as_it_leaves_its_cpu_is_seen_whenever_the_sleeper_looks;
        ring_barriers_unlimited: "the limit of barriers at a ring",
            ring_sleep::a_sleeper_that_wakes_again_and_again_interrupts_its_peer_seldom;
        completion_without_cell: "the cell that is kept for a completion before its entry is taken",
            submission::an_entry_is_taken_only_when_a_cell_is_kept_for_its_completion;
        submission_tail_read_twice: "that the tail of the entries is read once",
            submission::an_index_that_changes_is_judged_as_it_was_read;
        completion_head_read_twice: "that the head of the completions is read once",
            submission::an_index_that_changes_is_judged_as_it_was_read;
        entry_read_twice: "the copy of an entry that is linked before any of its chain is done",
            submission::an_entry_is_what_it_was_when_it_was_taken;
        link_goes_on: "the end of a chain at its first failure",
            submission::a_chain_ends_with_the_first_failure;
        registrar_without_rollback: "that rings which know a handle forget it when another refuses it",
            registrar::when_one_ring_refuses_no_ring_knows_a_handle;
        refused_registration_keeps_room: "that rings give back what they made room for when another refuses a handle",
            registrar::when_one_ring_refuses_a_reserved_slot_nothing_is_left_of_it_in_the_others;
        slots_set_without_second_look: "the second look of who sets slots, after they are made",
            submission_ends::others_register_and_revoke_while_a_process_makes_slots;
        ring_ends_in_one_stretch: "that others run while a ring ends in which much waits",
            submission_ends::others_run_while_a_ring_ends_in_which_much_waits;
        drop_skips_waiters: "that who waits by a capability that is given up learns of it",
            submission_ends::who_waits_at_a_ring_learns_of_its_end_before_others_run_while_it_ends;
        place_of_a_wait_stays_free: "that a place of an operation that waits is no other's",
            submission_ends::whatever_waits_is_completed_once_by_its_own_time_or_cancel;
        places_of_waits_for_nothing: "the charge for what lists operations that wait",
            submission_ends::who_has_much_wait_at_once_pays_for_its_places_until_the_ring_ends;
        interest_asked_at_each_end: "that the end of many bindings looks at no more than there are",
            submission_ends::many_that_wait_by_a_capability_learn_of_its_end_and_the_others_wait_on;
        polled_by_what_was_reduced: "that the thread of a ring takes entries by what allows that alone",
            submission_polling::a_thread_begins_no_slice_after_what_allows_it_was_taken_away_whatever_is_due;
        polling_thread_goes_on_in_vain: "the end of the thread of a ring with what allows it",
            submission_polling::a_thread_begins_no_slice_after_what_allows_it_was_taken_away_whatever_is_due;
        end_of_polling_not_noted: "that a ring says that nobody looks for entries any more",
            submission_polling::a_thread_begins_no_slice_after_what_allows_it_was_taken_away_whatever_is_due;
        generation_not_compared: "the generation of a registered handle",
            registrar::a_number_that_was_let_go_is_never_its_successor;
        second_number_keeps_first: "that a copy whose second number is unknown lets the first go",
            region_copies::a_copy_uses_both_its_numbers_until_it_ends_and_none_of_them_afterwards;
        unregister_does_not_wait: "the wait for operations that use a registered handle",
            retiring::what_is_in_use_is_let_go_when_it_is_not;
        entry_over_the_rate_does_not_wait: "that an entry waits for the rate of an end",
            rate_limits::an_entry_over_the_rate_waits_for_it_or_for_its_deadline;
        entry_counts_as_refused_at_each_try: "that an entry which waits does not count as refused",
            submission_waits::an_entry_counts_as_refused_when_it_is_and_not_while_it_waits;
        wait_without_second_try: "the second try of an entry that has begun to wait",
            submission_told::what_comes_while_an_entry_begins_to_wait_for_it_is_not_missed;
        left_due_not_told: "that who serves a ring tells of what it leaves due",
            submission_told::what_was_found_to_be_served_by_another_is_told_again_when_that_one_leaves_it;
        completions_told_at_the_end: "that who waits for completions is told of each slice of them",
            submission_told::who_waits_for_completions_is_told_of_them_when_they_are_published;
        deadline_without_last_look: "the last look of who waits for completions when its time has come",
            submission_told::a_time_that_comes_when_there_are_enough_completions_is_none;
        due_in_one_slice: "that who looks at much that is due, or cancels much, lets others run in between",
            submission_slices::of_what_is_due_no_more_begins_in_a_slice_after_what_allows_it_was_taken_away;
        late_look_after_the_try: "that an entry which waits is tried after the look whether its time has come",
            submission_told::what_comes_between_a_try_and_the_deadline_came_in_time;
        end_of_task_ends_no_entry: "the end of a long entry whose task has to end",
            submission_slices::an_entry_that_takes_long_ends_with_its_task_and_says_so;
        used_up_slice_says_nothing: "why no entry is taken after what was due took the whole slice",
            submission_slices::who_may_take_no_entry_after_what_was_due_is_told_why;
        ring_joins_without_second_look: "the second look of a ring that joins, after it has made room",
            submission_ends::a_ring_that_joins_learns_what_others_register_while_it_makes_room;
        dead_registration_stays: "that a process which ends lets go what it had registered by what had ended before",
            retiring::of_a_process_that_ends_nothing_stays_at_what_it_had_registered_and_lost;
        unregister_waits_by_its_capability: "that who waits for the users of a registered handle waits wherever its capability is",
            retiring::who_lets_a_handle_go_waits_for_its_users_wherever_its_capability_is;
        failed_registration_stays: "the end of a registration whose capability begins to move meanwhile",
            retiring::what_begins_to_move_while_it_is_registered_is_registered_or_not;
        pin_without_recheck: "that nothing is pinned by a capability which a reduce has taken the right from",
            quotas::pins_that_a_reduce_takes_back_are_paid_back_once;
        pin_paid_back_twice: "that a pin which a reduce has taken back is paid back once",
            quotas::pins_that_a_reduce_takes_back_are_paid_back_once;
        unregister_sleeps_in_its_ring: "that who serves a ring never sleeps for operations of the ring",
            unregister_inside::the_thread_of_a_ring_never_sleeps_for_what_only_it_can_end;
        retirer_not_told: "the note for a ring that waits for a registered handle to be let go",
            unregister_inside::who_waits_in_one_ring_is_told_by_the_last_use_in_another;
        retiring_not_given_up: "that a handle is registered as before when nobody waits for its end any more",
            unregister_inside::whoever_gives_up_leaves_the_handle_as_it_was;
        cancel_runs_chain: "that no entry of a ring runs a chain within itself",
            unregister_inside::no_chain_runs_within_an_entry_that_cancels_its_beginning;
        copy_asks_nobody: "the look at the capability under the lock of each page that is copied",
            region_copies::a_copy_writes_nothing_after_its_capability_was_revoked;
        copied_without_recheck: "the second look at the capability of what is copied from, when it has been read",
            region_copies::a_copy_writes_nothing_after_its_capability_was_revoked;
        ring_not_looked_at_again: "the last look of who goes to sleep at a ring",
            rings::a_wait_that_is_over_does_not_sleep;
        ring_events_without_barrier: "that nobody waits for an index of an asymmetric ring without a barrier",
            ring_sleep::nobody_waits_for_an_index_where_that_brings_no_barrier;
        ring_level_by_tail_alone: "that what was received before the tail told of it is no event",
            rings::what_was_received_before_the_tail_told_of_it_is_not_there;
        ring_mapped_without_lock: "that who maps an end looks whether it is mapped while nobody else can",
            rings::of_two_threads_that_map_an_end_at_once_one_does;
        ring_state_not_written: "the word that tells how an end of a ring ended",
            ring_ends::every_way_to_end_is_told_by_another_state;
        ring_epoch_not_raised: "the new epoch of a ring whose end has another holder",
            ring_ends::another_holder_is_another_epoch;
        ring_move_wakes_nobody: "the second look of who sleeps while the other end of a ring moves",
            ring_ends::who_sleeps_while_the_other_end_moves_looks_again;
        deed_without_recheck: "the second look at a capability, when what is done by it can't be undone",
            revoked::what_is_not_done_when_a_revoke_returns_is_refused_and_never_done;
        bell_without_recheck: "the second look at the notification of an interrupt that is made",
            revoked::what_is_not_done_when_a_revoke_returns_is_refused_and_never_done;
        move_takes_its_way: "the look whether a Move would revoke what it goes over",
            revokes::a_move_that_would_revoke_its_own_way_is_refused_and_leaves_all_as_it_was;
        refused_without_recheck: "the second look at a capability, when a call is refused for what it has found",
            revoked::no_refusal_tells_of_what_was_revoked_meanwhile;
        pinned_told_to_anybody: "the second look at the rights of who is refused to hand something over",
            revoked::no_refusal_tells_of_what_was_revoked_meanwhile;
        renamed_before_recheck: "that who moves something to itself keeps its handle if that is revoked on the way",
            authority_races::of_what_was_moved_to_oneself_and_revoked_on_the_way_the_old_handle_tells_so;
        nothing_there_without_recheck: "the second look at the capability of who finds no bit set",
            revoked::no_refusal_tells_of_what_was_revoked_meanwhile;
        ring_wake_without_recheck: "the second look at the capability by which who sleeps at a ring is woken",
            revoked::what_is_not_done_when_a_revoke_returns_is_refused_and_never_done;
        slice_cuts_chain: "that a chain which begins in a slice of the thread of a ring is taken with it",
            submission_polling::a_chain_belongs_together_wherever_it_lies_in_a_slice_of_the_thread;
        submission_index_not_wrapped: "that the indices of a submission ring wrap",
            submission::entries_and_completions_go_on_where_their_indices_wrap;
        entries_by_what_was_reduced: "the look at the capability of a submission ring at each slice of its entries",
            revoked::of_entries_none_begins_in_a_slice_after_what_allows_them_was_taken_away;
        told_without_recheck: "the second look at a capability, when what is asked has been read",
            revoked::nothing_is_told_by_what_was_revoked_meanwhile;
        object_info_read_after_letting_go: "that a capability stays as it is while what it tells of is read",
            revoked::nothing_is_told_by_what_was_revoked_meanwhile;
        event_after_enlisting_told_without_recheck: "the second look at the capability of who finds an event as it goes to sleep",
            revoked::an_event_that_comes_while_somebody_goes_to_sleep_is_not_told_by_what_was_revoked_since;
        decommit_asks_nobody: "the look at the capability when pages are given back",
            revoked::what_is_not_done_when_a_revoke_returns_is_refused_and_never_done;
        gone_guest_stays_charged: "the way out of a seat for what a guest had that is gone",
            gone_guests::a_guest_that_is_gone_is_charged_with_nothing_before_its_seat_is_recovered;
        guest_ends_forgotten_alive: "that the seat of a guest has its ends until they are dead",
            gone_guests::no_seat_is_empty_before_a_guest_that_is_dismissed_is_out_of_reach;
        hub_end_forgets_claim: "that the ends of a guest which has claimed its seat are its own when the hub ends",
            gone_guests::a_hub_that_ends_while_a_seat_is_claimed_leaves_its_guest_everything_or_nothing;
        hub_epoch_not_compared: "the tenancy that a claim names",
            hubs::a_seat_is_claimed_once_and_only_in_the_tenancy_that_was_told;
        hub_seat_empty_before_reset: "the end of the old rings before a seat is empty",
            hubs::no_seat_can_be_had_before_the_rings_of_the_last_tenancy_are_out_of_reach;
        hub_goodbye_wakes_nobody: "the wake of sleeping guests by the goodbye of the host",
            hub_ends::the_goodbye_of_the_host_reaches_every_guest_those_that_sleep_too;
        hub_end_relies_on_goodbye: "that the end of a hub tells its guests whoever else is about to",
            hub_moments::a_hub_that_ends_while_its_host_says_goodbye_tells_every_guest;
        hub_end_takes_ends_of_who_leaves: "that a seat was claimed, however much its guest has given back since",
            hub_moments::what_a_guest_keeps_that_leaves_while_the_hub_ends_can_be_closed;
        hub_end_tells_no_link: "what the end of a hub tells who waits for a guest to go",
            hub_moments::the_end_of_a_hub_reaches_who_waits_for_a_guest_to_go;
        hub_seat_taken_before_it_is_sure: "that a seat is taken when nothing else can fail",
            hub_moments::a_goodbye_during_a_reservation_finds_a_seat_that_is_taken_or_that_never_is;
        registrations_scanned: "that what a capability has registered is found by its object",
            retiring::the_end_of_a_capability_costs_what_its_object_has_registered;
        host_pays_before_guest: "that who is to be a guest pays before its host does",
            hubs::a_guest_that_can_not_pay_changes_nothing_however_often_it_tries;
        hub_asleep_after_wait: "that guests signal no more when the last wait of the host has ended",
            hub_moments::guests_do_not_signal_any_more_when_the_last_wait_has_ended_however_it_has;
        hub_awake_with_sleepers: "that guests signal as long as another thread of the host sleeps",
            hub_moments::guests_signal_as_long_as_a_thread_of_the_host_sleeps;
        signal_after_goodbye_refused: "that a guest can wake its host until the hub is over",
            hub_moments::what_a_guest_sends_after_the_goodbye_reaches_a_thread_of_the_host_that_sleeps;
        hub_wake_not_passed_on: "the wake of another by who was woken at a hub and may not wait there any more",
            hub_moments::what_a_thread_was_woken_for_that_may_not_wait_any_more_is_told_to_the_next;
        view_kept_without_handle: "the end of a view's record with the handle of its end",
            ring_views::who_has_nothing_of_an_end_any_more_pays_for_nothing_of_its_view;
        view_of_moved_end_kept: "the end of a view's record with the Move of its end",
            ring_views::who_has_nothing_of_an_end_any_more_pays_for_nothing_of_its_view;
        hub_sleeps_without_look: "the look at all rings before the host sleeps",
            hub_ends::a_host_sleeps_once_for_all_guests_and_none_signals_while_it_is_awake;
    }

    Host "handover-ring" {
        linux_sleeper_without_barrier: "the barrier of who goes to sleep at an asymmetric ring on Linux",
            linux_system::nobody_sleeps_at_an_asymmetric_ring_without_the_barrier;
        linux_bell_not_rung: "the end of a sleep on Linux when the other end closes",
            linux::closing_wakes_a_sleeper_at_either_end_at_once;
        linux_death_unnoticed: "the look at a peer's socket that hangs up",
            linux_processes::a_peer_that_dies_while_this_side_sleeps_wakes_it;
        linux_last_words_unheard: "the look for what a peer said last before it hung up",
            linux_hostile::who_closed_in_order_and_had_not_heard_everything_is_not_dead;
        linux_no_room_for_last_words: "the room for what a peer is told last",
            linux_hostile::who_is_woken_all_the_time_and_does_not_listen_hears_of_the_end;
        linux_seals_not_checked: "the check that a peer's file can't shrink",
            linux_handshake::a_file_that_could_harm_who_maps_it_is_refused;
        linux_size_not_checked: "the check that a peer's file is as large as its ring, and there",
            linux_handshake::a_file_that_could_harm_who_maps_it_is_refused;
        linux_file_not_sealed: "the seals of a file that is given to a peer",
            linux_handshake::what_the_peer_is_given_cannot_be_written_by_it;
        linux_wake_within_process: "that who is woken may be a thread of another process",
            linux_system::a_thread_of_another_process_is_woken_at_the_word_that_both_have;
        linux_shortage_is_death: "that a system short of memory says nothing of the peer",
            linux_system::who_can_not_be_heard_for_want_of_memory_is_not_dead;
        linux_shortage_silences: "that a system short of memory is asked again to pass a wake or a close on",
            linux_system::a_wake_and_a_close_that_find_no_memory_are_told_when_there_is_some;
        linux_child_ends_its_parents: "that a child which drops its copy of an end says nothing to the peer of its parent",
            linux_fork::a_child_that_drops_its_copies_of_ends_touches_nothing_of_its_parents;
        linux_child_unmaps_its_own: "that a child leaves alone what it has where its parent has a ring",
            linux_fork::a_child_that_drops_its_copies_of_ends_touches_nothing_of_its_parents;
        linux_child_hears_nothing: "that a child has a thread of its own that listens",
            linux_fork::a_child_that_makes_a_ring_hears_what_becomes_of_its_peer;
        linux_dead_listened_to: "that nobody listens to the socket of a peer that is dead",
            linux_system::who_listens_rests_once_a_peer_is_dead;
        linux_signal_ends_wait: "that a signal which is handled ends no wait",
            linux_system::a_signal_that_is_handled_ends_no_wait_and_no_handshake;
        linux_duplicate_watched_on: "the end of the look at a socket with the end that it is of",
            linux_files::who_keeps_a_duplicate_of_the_socket_of_an_end_that_is_gone_keeps_nobody_awake;
        linux_withheld_files_blamed_on_peer: "the look whether the system kept files back that a peer has sent",
            linux_files::who_may_have_no_more_files_is_told_so_and_not_that_its_peer_is_to_blame;
        linux_listener_blocks: "that nobody waits in the system for a client whom another takes",
            linux_handshake::no_wait_for_a_client_lasts_beyond_its_deadline_whoever_else_takes_it;
        linux_connect_without_deadline: "the deadline of who waits for room at a listener",
            linux_handshake::no_wait_for_room_at_a_listener_lasts_beyond_its_deadline;
        linux_bell_outlasts_deadline: "the look at the clock of who sleeps at a bell that rings all the time",
            linux::a_bell_that_rings_all_the_time_keeps_nobody_beyond_the_deadline;
        linux_way_back_not_checked: "the look whether what came for the other direction of a duplex is a socket as it has to be",
            linux_duplex::a_duplex_is_offered_with_one_file_and_one_socket_and_nothing_else;
        linux_waker_panics_on: "that the panic of a waker ends in the waker",
            linux_tasks::a_waker_that_panics_harms_nobody_else;
        cancel_lost_to_a_message: "that a wait that was cancelled says so whatever came meanwhile",
            cancel::a_cancelled_wait_says_so_and_leaves_what_came_meanwhile_to_the_next_call;
    }

    Host "handover-ring" {
        pool_reference_not_bounded: "the bounds of a reference to a slot",
            payload::every_field_of_a_reference_is_bounded;
        lease_bounds_not_checked: "the bounds of a reference to a region",
            references::a_reference_to_a_region_is_checked_whole;
        withdrawn_region_in_parts: "that no message refers to a region that was withdrawn",
            references::a_region_that_was_withdrawn_before_it_was_taken_is_a_fault_where_a_message_refers_to_it;
        withdrawn_region_kept: "that the receiver lets go of a region which is withdrawn",
            references::what_is_known_of_a_region_goes_when_its_sender_withdraws_it;
        withdrawn_stays_granted: "the way back of what was granted for a region that is withdrawn",
            references::what_the_peer_is_to_take_no_more_is_taken_back;
        counted_before_sent: "that a message counts as sent only when it is in the ring",
            payload_traffic::what_is_counted_is_what_was_done;
        lease_generation_not_checked: "the generation of a reference to a region",
            references::a_region_is_known_in_its_last_generation_alone;
        finished_region_kept: "that what the receiver has of a region goes when its only payload is finished",
            references::a_region_that_is_all_of_a_payload_is_kept_until_that_is_finished_and_no_longer;
        whole_region_in_parts: "that no other message refers to a region that is all of a payload",
            references::a_region_that_is_all_of_a_payload_is_kept_until_that_is_finished_and_no_longer;
        tail_not_checked: "the check that a tail is at most a ring ahead of the head",
            packet::a_tail_or_head_that_no_honest_peer_stores_poisons_for_good;
        head_not_checked: "the check that a head is between the last one and the tail",
            packet::a_tail_or_head_that_no_honest_peer_stores_poisons_for_good;
        geometry_from_shared_memory: "that the geometry is the private one",
            packet::the_geometry_that_counts_is_the_private_one;
        producer_by_shared_geometry: "that a producer knows how much room there is by the private geometry",
            hostile::a_header_that_changes_while_the_ring_is_used_changes_no_message;
        hub_recovery_swapped: "that what a dead guest sent is received before its slots are given back",
            hub_recovery::what_a_dead_guest_sent_is_received_before_its_slots_and_its_seat_are_given_to_others;
        tail_believed_without_record: "the look whether there is what the tail tells of, before a sleep",
            slot::a_tail_that_tells_of_what_is_not_there_ends_no_sleep_but_the_ring;
        planted_slots_taken_over: "the look at every slot of a ring whose producer has another holder",
            slot::a_ring_in_which_the_last_holder_planted_a_message_has_no_new_one;
        armed_for_every_slot: "that a producer sleeps for half of the slots at most",
            slot::a_producer_never_waits_for_what_a_sleeping_consumer_keeps;
        idle_word_kept_over_a_flush: "that the producer's word is judged again once the head was given back",
            giving_back::the_head_is_stored_exactly_when_a_quarter_is_owed_or_waited_for;
        length_not_bounded: "the bound on the length of a message",
            model::a_sequence_of_neither_lap_or_a_length_beyond_the_slot_poisons_the_consumer_for_good;
        record_beyond_tail: "the check that a record ends before the tail",
            packet::a_malformed_record_is_a_fault_and_never_an_empty_ring;
        end_needs_space: "that the end of a stream takes no room in the ring",
            duplex::the_end_of_a_direction_needs_no_room_in_the_ring;
        turn_not_passed_on: "that who was served is the last to be served again",
            mpsc::producers_are_served_in_turn_however_busy_one_is;
        announced_without_flush: "that who sleeps for an answer has given back all that it received",
            exchange::who_exchanges_keeps_nothing_back_that_its_answer_needs;
        limit_by_own_head: "that a producer has no room for what was received and not given back",
            giving_back::no_tail_is_believed_that_is_a_ring_ahead_of_what_was_received_and_not_of_what_was_given_back;
        batch_without_limit: "the look at what was given back when a batch receives one more",
            giving_back::a_batch_ends_at_the_first_message_that_an_honest_producer_has_no_room_for;
        owed_wake_forgotten: "the wake that a request owes at the sleep for its answer",
            exchange::who_exchanges_wakes_its_peer_as_it_goes_to_sleep;
    }

    Loom "handover-ring" {
        pool_owner_after_publication: "that a slot is taken and somebody's at once",
            loom_pool::a_slot_is_at_no_instant_taken_and_nobodys;
        pool_freed_without_exchange: "the exchange by which one of two gives a slot back",
            loom_pool::of_two_who_give_a_slot_back_exactly_one_is_told_that_it_was_given_back;
        pool_waits_without_fence: "the fence between the word that a side waits for a slot and its last look",
            loom_pool::who_waits_for_a_slot_is_told_of_the_one_that_is_given_back;
        pool_waits_without_look: "the last look of who waits for a slot",
            loom_pool::who_waits_for_a_slot_is_told_of_the_one_that_is_given_back;
        pool_freed_without_fence: "the fence between giving a slot back and the look whether the peer waits for one",
            loom_pool::who_waits_for_a_slot_is_told_of_the_one_that_is_given_back;
        hub_entry_without_epoch: "the tenancy in the exchange of a seat's word",
            loom_hub::what_was_decided_of_a_guest_never_falls_on_the_next;
        hub_join_tries_once: "the search for another seat when somebody was faster",
            loom_hub::those_who_join_at_once_get_a_seat_each;
        gathered_without_last_look: "the look at every ring before the receiver of many sleeps",
            loom_mpsc::the_message_of_whichever_producer_wakes_the_receiver;
        direction_judged_by_an_earlier_look: "that whether a direction is empty is asked after how its ends stand",
            loom_duplex::a_direction_is_closed_when_all_of_it_was_received_and_never_goes_back;
        task_not_announced: "that a task which waits says what for",
            loom_tasks::a_task_that_receives_is_woken_by_what_is_published;
        tail_read_twice: "that the tail of a ring of packets is read once",
            loom_hostile::a_tail_that_changes_between_two_looks_is_judged_by_the_one_that_is_used;
        byte_tail_read_twice: "that the tail of a ring of bytes is read once",
            loom_hostile::a_tail_of_bytes_that_changes_is_judged_by_the_look_that_is_used;
        slot_tail_read_twice: "that the tail of a ring of slots is read once",
            loom_hostile::a_tail_of_slots_that_changes_is_judged_by_the_look_that_is_used;
        slot_word_read_twice: "that the word of a slot is read once",
            loom_hostile::a_word_of_a_slot_that_changes_is_judged_as_it_was_read;
        record_head_read_twice: "that the head of a record is read once",
            loom_hostile::a_head_of_a_record_that_changes_is_judged_as_it_was_read;
        packet_head_read_twice: "that the head of a ring of packets is read once",
            loom_hostile::a_head_of_the_ring_that_changes_is_judged_by_the_look_that_is_used;
        byte_head_read_twice: "that the head of a ring of bytes is read once",
            loom_hostile::a_head_of_bytes_that_changes_is_judged_by_the_look_that_is_used;
        slot_head_read_twice: "that the head of a ring of slots is read once",
            loom_hostile::a_head_of_slots_that_changes_is_judged_by_the_look_that_is_used;
        pool_word_read_twice: "that the word of a slot of a pool is read once before it is taken",
            loom_pool::two_that_allocate_at_once_never_get_the_same_slot;
        owed_wake_slept_over: "the wake that a turn owes when it sleeps for room",
            loom_exchange::who_sends_more_in_a_turn_than_there_is_room_for_wakes_who_makes_it;
        announced_without_fence: "the fence between announcing sleep and a sleep at once",
            loom_exchange::who_sleeps_for_a_request_is_woken_by_who_sleeps_for_its_answer;
        room_sleep_fence_missing: "the fence between announcing sleep for room and the last look",
            loom_slot::a_sleeping_producer_is_always_woken;
        room_wake_fence_missing: "the fence between giving room back and looking for a sleeping producer",
            loom_slot::a_sleeping_producer_is_always_woken;
        sleep_fence_missing: "the fence between announcing sleep and the last look",
            loom_slot::a_sleeping_consumer_is_always_woken;
        last_look_missing: "the look for messages after the look at the states",
            loom_slot::what_was_sent_before_the_close_is_received_before_its_answer;
        wake_fence_missing: "the fence between publishing and looking for sleepers",
            loom_slot::a_sleeping_consumer_is_always_woken;
        index_seen_without_acquire: "that what is before an index is seen with it",
            loom_packet::a_published_message_has_its_tag_and_its_bytes;
        word_seen_without_acquire: "that what is behind a word is seen with it",
            loom_slot::a_published_message_has_its_bytes;
        trace_overwritten_without_fence: "the fence between the mark that a slot of a trace is overwritten and its words",
            loom_trace::a_reader_is_never_given_parts_of_two_records;
        trace_copied_without_fence: "the fence between the copy of a slot of a trace and the second look at it",
            loom_trace::a_reader_is_never_given_parts_of_two_records;
        observer_trusts_lapped_slot: "the second look at a slot of a trace after it was copied",
            loom_trace::a_reader_is_never_given_parts_of_two_records;
    }

    Loom "handover-ipc" {
        derived_without_lock: "that what is derived from is looked at under the lock of its tree",
            loom_authority::what_is_derived_while_it_is_revoked_is_refused_or_dead;
        revoke_skips_waiters: "the end of waits by what is revoked",
            loom_wait::nobody_waits_by_what_has_been_revoked;
        enlisted_without_recheck: "the look at the node under the lock of the list",
            loom_wait::nobody_waits_by_what_has_been_revoked;
        reduce_keeps_waits: "the end of waits for what a reduce takes away",
            loom_wait::nobody_waits_for_what_its_capability_does_not_allow_any_more;
        submission_rest_without_fence: "the fence between the note that a thread of a ring rests and its last look",
            loom_polling::what_is_published_while_the_thread_goes_to_rest_is_done;
        submission_rest_without_look_at_room: "the look for room before the thread of a ring rests that has left entries for want of it",
            loom_polling::what_was_left_for_want_of_room_is_done_once_there_is_some_while_the_thread_goes_to_rest;
        submission_given_back_without_fence: "the fence between giving cells of completions back and the look whether the thread of the ring rests",
            loom_polling::what_was_left_for_want_of_room_is_done_once_there_is_some_while_the_thread_goes_to_rest;
        submission_given_back_without_look: "the look whether the thread of a ring rests once completions were taken out",
            loom_polling::what_was_left_for_want_of_room_is_done_once_there_is_some_while_the_thread_goes_to_rest;
        submission_published_without_fence: "the fence between publishing entries and the look whether their thread rests",
            loom_polling::what_is_published_while_the_thread_goes_to_rest_is_done;
        submission_looks_before_publishing: "the order in which a program publishes entries and looks whether their thread rests",
            loom_polling::what_is_published_while_the_thread_goes_to_rest_is_done;
        hub_sleeps_without_fence: "the fence between the host's word that it sleeps and its look at all rings",
            loom_hub_wait::what_is_published_while_the_host_goes_to_sleep_is_looked_at;
        hub_guest_without_fence: "the fence between a guest's message and its look whether the host sleeps",
            loom_hub_wait::what_is_published_while_the_host_goes_to_sleep_is_looked_at;
        ring_peer_looked_for_without_fence: "the fence before the kernel looks whether the peer of an asymmetric ring runs",
            loom_ring_sleep::a_receiver_is_woken_by_who_has_no_fence;
        submission_rest_without_look: "the look for entries before the thread of a ring rests",
            loom_polling::what_is_published_while_the_thread_goes_to_rest_is_done;
        wait_completed_twice: "the exchange by which the first of several ends a wait",
            loom_wait::a_signal_at_the_deadline_is_taken_or_stays;
        event_awaited_without_fence: "the fence between the word that somebody waits for an event and the look whether it holds",
            loom_wait::an_end_that_is_told_of_without_a_lock_is_not_missed;
        event_told_without_fence: "the fence between a state that is read without a lock and the look for who waits",
            loom_wait::an_end_that_is_told_of_without_a_lock_is_not_missed;
        event_before_enlisting_missed: "the look at the object after enlisting",
            loom_wait::an_event_between_the_look_and_the_sleep_is_not_missed;
    }

    Loom "handover-mm" {
        shootdown_fence_missing: "the fence between an edit and the look at who has the space loaded",
            loom_shootdown::a_cpu_that_enters_sees_the_edit_or_is_waited_for;
        acknowledge_before_flush: "the order of flush and acknowledgement",
            loom_shootdown::a_cpu_uses_what_it_has_cached_until_it_is_told_and_not_longer;
        root_loaded_before_visit: "the order of the bit of a CPU's first visit and the load of a root",
            loom_shootdown::a_cpu_that_enters_sees_the_edit_or_is_waited_for;
        switch_told_after_root: "that a CPU tells of a switch before it loads a root",
            loom_shootdown::a_cpu_that_comes_back_sees_the_edit_or_is_waited_for;
        who_switches_is_not_asked: "that a CPU which switches is asked",
            loom_shootdown::a_cpu_that_comes_back_sees_the_edit_or_is_waited_for;
        space_told_before_root: "that a CPU tells which space it has when it has loaded the root",
            loom_shootdown::a_cpu_that_switches_to_another_space_forgets_or_acknowledges;
    }

    Guest "handover-kernel" {
        reaper_not_boosted: "the urgency of a thread that has to end",
            priorities::reaper;
        reaper_beside_the_most_urgent: "that what has to end is above all that a program can ask for",
            priorities::above_all;
        polling_thread_keeps_its_cpu: "that the thread of a ring lets others run while it looks in vain",
            submissions::polled;
        priority_in_two_steps: "that what a thread is asked to be and what it competes at are set at once",
            priorities::set_by_two;
        end_of_slice_passed_on: "that a slice which ends in a call that sleeps is forgotten",
            priorities::turns;
        times_go_by_the_queue: "the direct switch of who goes to sleep until a time",
            waiting::handed_on;
        times_go_at_length: "the short way of calls that have a time",
            halves::in_time;
        no_time_has_come: "the look whether a time has come before somebody sleeps until it",
            halves::in_time;
        time_out_is_left: "the end of a time-out that an answer has overtaken, on the way back from hand to hand",
            channels::overtaken;
        alarm_not_set_earlier: "that an alarm which was left is set to an earlier time",
            waiting::left_over;
        alarm_not_set_anew: "that an alarm which was left is set anew when it goes off before its time",
            waiting::left_over;
        any_alarm_ends_a_sleep: "the look whether the time of a sleep has come when an alarm goes off",
            waiting::left_over;
        time_outlives_its_sleep: "that the time of a sleep is forgotten with it",
            waiting::left_over;
        alarm_outlives_its_thread: "the end of the alarm of a thread that ends",
            waiting::left_over;
        sleeper_not_killed: "the end of the sleep of a thread that has to end",
            processes::kill_sleeping;
        placed_where_programs_choose: "that mappings without a place are put away from the places that programs choose",
            memory::placement;
        no_preemption: "the end of a slice",
            priorities::fair_share;
        watched_for_nobody: "the way back to plain hooks when the last who watched has ended",
            trace::off;
        deaths_not_traced: "what a trace is told of capabilities that are taken away",
            trace::taken_away;
        entries_not_watched: "what a trace is told of the entries of submission rings",
            trace::entries;
        exceptions_not_traced: "what a trace is told of exceptions that are no page faults",
            trace::exception;
        exceptions_not_counted: "the count of exceptions that are no page faults",
            faults::counted;
        refused_entry_not_told: "what a trace is told of an entry that is refused before it is tried",
            trace::entries;
        tls_not_switched: "the switch of the base of FS",
            threads::local_storage;
        who_sees_its_end_goes_on: "that a thread which has seen that it has to end does not go on in its program",
            halves::killed;
        clock_rate_not_measured: "the rate of the clock that was measured at boot",
            timers::another_clock;
        short_way_tells_no_next_name: "the next name of the right to reply on the way back from hand to hand",
            halves::named;
        every_call_has_met: "the look at how a wait ended on the way back from hand to hand",
            channels::cancelled_in_turn;
        who_is_unlike_has_the_seat_of_others: "that a call goes over by a stack and a space alone only where that is all",
            threads::storage_in_calls;
        selectors_not_cleared: "the null in the selectors that a program has loaded",
            processes::selectors;
        refused_line_rests: "that a line is nobody's at once when its interrupt was refused",
            interrupts::refused;
        heap_not_promised: "the promise to the kernel's heap before a call that allocates",
            sweep::scarce;
        larger_pieces_draw_all: "the limit of what larger pieces draw on the promise to the kernel's heap",
            sweep::scarce;
        pieces_not_promised_each: "the promise to the kernel's heap before each of as many pieces as a program chooses",
            sweep::many_pieces;
        shrinks_unasked: "the promise to the kernel's heap before each of as many lists as a program makes shorter in a call",
            submissions::crowds;
        heap_promise_too_small: "most of what is promised to the kernel's heap for small pieces",
            sweep::scarce;
        fuse_does_not_burn: "the end of a process whose fuse has burnt",
            supervision::fuse;
        user_copy_failure_ignored: "the answer of a call that can't write its result to the program",
            waiting::port_refused;
        told_when_done: "the look whether a result can be written, before what can't be undone",
            system::bad_pointers;
    }

    Guest "handover-rt" {
        granted_to_who_is_gone: "the way back of what was granted to who is gone",
            hubs::never_read;
        gone_guest_keeps_slots: "the way back of the slots of a guest that is gone",
            hubs::tiers;
        payload_read_in_place: "that a payload in a region is read from a snapshot of the reader's own",
            hubs::taken_back;
        room_awaited_without_look: "the last look of who waits for a slot of a pool",
            hubs::freed_meanwhile;
        freed_told_at_any_price: "that nobody sleeps to tell of a slot that was freed",
            hubs::freed_meanwhile;
        lost_link_dismisses_nobody: "the end of a guest to whom the link is lost",
            hubs::lost_link;
        unopened_view_stays: "the way back of the view of an end that is not opened",
            rings::half_open;
        logs_let_everybody_in: "that a collector sends away who comes when too many strangers are there",
            examples::strangers;
        logs_stranger_stays: "that a collector takes away the ring of who says what no writer does",
            examples::nonsense;
        closed_end_closes_again: "the look whether an end is closed before it is closed",
            rings::closed_again;
        handed_on_without_flush: "that who hands on an end gives back what was received",
            rings::half_received;
        threshold_not_kept: "that who sleeps until there is more than one is not woken by the first",
            rings::thresholds;
        gather_looks_at_rings_alone: "the turn of what is waited for besides rings",
            rings::watched_too;
        executor_sleeps_beside_tasks: "the look whether a task is ready, before an executor sleeps",
            rings::conversations;
        task_waits_without_look: "the look at a ring of a task that is about to wait there",
            rings::room_and_death;
        published_not_told: "that who publishes entries is told so when the wait behind them ends",
            submissions::published;
        connect_waits_for_nobody: "the wait of a client for a service that has not come yet, or again",
            services::patience;
        connect_outlives_names: "that who waits for a service hears of the end of the name service",
            services::bereft;
        watch_outlives_connect: "the end of a watch with the wait that it was for",
            services::patience;
    }
}
