//! The cases of the suite, by name. The one list: init names them from it, and the suite finds
//! their functions through it, so that a case without a function does not compile.

/// Passes every case to a macro, as `module::function "what it shows";`. The name of a case is
/// `module.function`.
#[macro_export]
macro_rules! for_each_case {
    ($callback:ident) => {
        $callback! {
            system::null_call "the null call answers 0, and a number without a call is Unsupported";
            system::memory "what is managed, what boot took and what is left alone are all usable memory";
            system::clock "the clock never goes back, and goes on";
            system::registers "a system call changes no register but rax, rcx and r11";
            system::console_limits "too much text and text that cannot be read are refused";
            system::one_bad_argument "every call with each argument spoilt in turn answers an error that it documents, and leaves all as it was";
            system::bad_pointers "every call with each of its pointers spoilt, and all else good, leaves all as it was";
            system::random_arguments "calls with random arguments leave the kernel and the other processes alive";

            faults::null_read "reading at 0 ends the process";
            faults::kernel_read "reading the kernel's half ends the process";
            faults::kernel_write "writing to the kernel's half ends the process";
            faults::non_canonical "an address that is none ends the process";
            faults::text_write "text can't be written";
            faults::data_execute "data can't be executed";
            faults::stack_overflow "a stack that overflows meets a guard page";
            faults::read_only_write "a mapping for reading can't be written";
            faults::after_unmap "what was unmapped can't be touched";
            faults::past_the_end "the pages behind the end of a region are not there";
            faults::invalid_instruction "an invalid instruction ends the process";
            faults::privileged "instructions of the kernel end the process";
            faults::division "a division by zero ends the process";
            faults::trap_flag "a program that sets the trap flag ends by its own debug exception";
            faults::counted "every exception counts once at its process and for the system, as a page fault does";

            memory::zeroed "a new region reads as zero, also from frames that were used before";
            memory::two_mappings "two mappings of a region show the same bytes";
            memory::lengths "regions of length 0, of too many bytes and on no node are refused";
            memory::placement "map refuses bad places, parts and rights, and changes nothing then";
            memory::protect "protect takes writing away and gives it back, but no more than the capability has";
            memory::seal "a sealed region can't be written, mapped for writing or unsealed";
            memory::destroy "destroying a region unmaps it and kills its handles";
            memory::destroy_elsewhere "a process that reads on another CPU faults when the region is destroyed";
            memory::seal_elsewhere "a process that writes on another CPU faults when the region is sealed";
            memory::exhaustion "memory can be reserved to the last frame, and comes back";
            memory::many_mappings "a thousand mappings come and go";
            memory::nodes "frames come from the node that was asked for, and are counted where they come from elsewhere";

            memory::commit "pages can be filled ahead of time and given back, and read as zeros then";
            memory::decommit_elsewhere "what one process gives back reads as zeros in another";
            memory::guard "a mapping with a guard keeps its neighbours away";
            memory::write_or_execute "no two mappings write and execute a region, and code can be written first";

            snapshots::instant "a snapshot has the bytes of its instant, whichever side writes first";
            snapshots::deep "a thousand snapshots, each of the one before, keep their bytes and return all";
            snapshots::chain "snapshots of snapshots and of parts keep their bytes, whatever ends first";
            snapshots::sealed "a snapshot of a sealed region can be written";
            snapshots::restore "a program goes back to a snapshot of its own data";
            snapshots::writer_elsewhere "a snapshot taken while another CPU writes shows one instant";
            snapshots::by_grant "both sides go on writing after CopyOnWrite, each for itself";
            snapshots::by_spawn "a child gets a snapshot at its start";
            snapshots::overcommit "an overcommitted snapshot is lost when memory runs out, and its source is not";
            snapshots::lost_elsewhere "a process that works on an overcommitted snapshot faults when it is lost";
            snapshots::records "snapshots whose records find no memory are refused, and the kernel goes on";
            snapshots::reserved "a snapshot that was promised its worst case can be written when memory has run out";
            snapshots::pins "what is pinned is not copied, moved, given back or destroyed, and pins go with their capability";
            snapshots::revoke_others "a Move that revokes takes what is below, and is refused for what is above";
            snapshots::bad_arguments "impossible parts, flags and handles are refused by every call on pages";

            capabilities::derive "a derived capability has at most the rights asked for and those of its parent";
            capabilities::drop_and_reuse "a dropped handle is never valid again";
            capabilities::foreign "a handle of another process is worth nothing";
            capabilities::revoke_counts "revoke kills what was derived, at any depth, and counts it";
            capabilities::revoke_elsewhere "a process that reads on another CPU faults when its capability is revoked";
            capabilities::revoke_pending "a token of a revoked capability is worth nothing";
            capabilities::table_full "handles run out at the limit, and come back";

            derived::part "a capability of a part reaches nothing else of its region";
            derived::one_shot "a one-shot capability is gone after the first call that succeeds";
            derived::looked_up_twice "a call may name its one-shot capability twice, and a process is waited for by one";
            derived::badge_and_budget "a badge is written once, and a budget of capabilities ends";
            derived::spent "what has no budget left is shared by no call, and each answers so";
            derived::deadline "a capability is dead after its deadline, with its mappings here and elsewhere";
            derived::reduce "what is taken from a capability is taken from who uses it on another CPU";
            derived::itself "revoke takes the capability itself if asked to, and the object with the first";
            derived::grant_deadline "a token is worth nothing after its deadline, and what was moved comes back";
            derived::many_holders "a region is taken from a hundred processes and used again at once, twice";

            matrix::missing_rights "every call without a right that it needs is Denied, and with it is not";
            matrix::no_further_rights "no call needs a right that the table does not tell";
            matrix::missing_rights_in_messages "what carries capabilities refuses one without a right that its mode needs";
            matrix::wrong_kind "a handle of another kind than an argument of a call is WrongKind";
            matrix::one_use "every call uses a capability for one use up when it succeeds, and leaves it when it is refused";
            matrix::never_one_use "what has one holder can't be for one use, everything else can, and nothing is below it";
            matrix::dead_handles "every call refuses handles that were dropped, revoked or are in transit";

            statistics::live "the pages of the statistics count every call and every refusal at once";
            statistics::objects "an object counts its faults, how it was handed over and why calls were refused";
            statistics::agreement "what objects have counted is what the pages of the statistics have counted";
            statistics::sequence "the page of a CPU shows of a known sequence of calls just what it did";
            statistics::read_only "whoever may read the statistics or a trace can't write them";

            trace::calls "a trace has every call of a process in order, with arguments and answer";
            trace::entries "a trace has every entry of a submission ring as it is tried, and what it is completed with";
            trace::exception "a trace has every exception of a program, with its vector, its error code and where it was";
            trace::taken_away "a trace tells how many capabilities of what are taken away, and why, however that comes";
            trace::off "a call costs the same instructions before a trace and after it, and more while it is taken";
            trace::waits "a trace tells who ended a wait, and when its thread went on";
            trace::lapped "what came too fast for the rings of a trace is counted";
            trace::refused "a trace takes all devices, a possible size, and that there is no other";
            trace::dropped "a trace ends with its last capability";
            trace::ended_elsewhere "a trace ends once, whoever else ends it at the same time, and others go on";
            trace::one_shot "a capability for one use is not used up by being traced";

            channels::in_order "messages of all lengths arrive whole and in order, between processes on one CPU and on two";
            channels::sizes "messages of 0 and 256 bytes and 4 capabilities arrive; 257 and 5 are refused, and what does not fit stays";
            channels::overtaken "an answer that overtakes the end of its call at a time is the answer, and what waits next waits as long as it is to";
            channels::deadlines "deadlines of 0 and in the past are answered at once, and a call that nobody received is taken back";
            channels::ten_thousand_calls "ten thousand calls in registers are answered, on one CPU and on two";
            channels::calls_with_capabilities "a region goes with a call and comes back with its answer";
            channels::answers_in_turn "the same with a server that answers and takes the next call at once";
            channels::answers_of_nothing "who calls for an answer of nothing gets TooLarge for four words, and so does who answers";
            channels::cancelled_in_turn "a call from hand to hand that is cancelled is answered by nobody, and the next one is";
            channels::one_reply "a call is answered once, and one whose right to reply is dropped ends with PeerClosed";
            channels::caller_gone "an answer to a caller that gave up or died is Cancelled";
            channels::server_gone "callers of a server that dies get PeerClosed, whether it had received the call or not";
            channels::over_itself "a channel end can't be sent over itself, its peer or a younger channel";
            channels::rate_limit "what is over the rate of an end is refused or waits, and the neighbour is not slowed";
            channels::revoked "who waits through a revoked channel end gets Revoked, while calling too";

            halves::traced "calls from hand to hand are answered, each its own, through traces that begin and end at either side";
            halves::traced_elsewhere "so they are while a process on another CPU begins and ends traces";
            halves::unlike "either side can use SSE or FS for the first time between two calls, and keeps what it has there";
            halves::cancelled "what was cancelled, a call or the wait for one, is cancelled, and all others are answered";
            halves::late "deadlines of either side come while others wait for ever, and no answer is taken for another one's";
            halves::in_time "calls with a time each go by halves, but for those whose time has come, which time out at once";
            halves::crowded "callers that compete for their server and for its CPU are answered, each its own";
            halves::named "each call has a name of its own, and an answer by an earlier or a later one is refused and answers nobody";
            halves::killed "whichever side is killed, the other one is told";

            devices::not_memory "memory and the kernel's own registers are no device";
            devices::bad_ranges "ranges and policies that make no sense are refused";
            devices::one_policy "pages of a device have one cache policy as long as a region has them";
            devices::registers "a device region shows the device, within its resource";
            devices::handed_over "a device region is shared, revoked and moved";

            transfers::share "what is shared can be mapped by both, within the rights that were granted";
            transfers::move_away "what is moved away is the receiver's alone";
            transfers::tokens "a token works once, for its addressee, from there";
            transfers::cancel "a cancelled Move comes back under its old handle";
            transfers::in_transit "what is in transit can't be used";
            transfers::exclusive "a region that another capability gives access to can't be moved";
            transfers::addressee_dies "what waits for a process that ends comes back";
            transfers::to_a_process "a parent grants to its child through the process handle";
            transfers::pending_limit "a process has at most 256 grants pending";

            hubs::conversation "a host and four guests sleep and wake, and no message is lost";
            hubs::full "255 guests at one hub, of whom some are killed and others take their seats";
            hubs::door "guests join by themselves whenever a seat is free";
            hubs::crashes "guests killed at every entry in turn are recovered while another is served";
            hubs::goodbye "the goodbye and the end of the host reach guests that sleep";
            hubs::granted "what is granted over a membership and over a link arrives";
            hubs::hangs "a guest that hangs is overdue, and one that beats is not";
            hubs::tiers "payloads of any size arrive in both directions, and the pool grows while slots are held";
            hubs::kinds "hubs of packets and of streams of bytes carry what is longer than a message and than a ring";
            hubs::taken_back "a payload is what it was when the host took its region, whatever the guest does with what it granted";
            hubs::refused "what a full ring refuses of payloads is as if it had not been tried, and can be tried again";
            hubs::given_back "what a payload in a region took is given back on both sides as soon as it is finished";
            hubs::scarce "a region that a host has no room for is the fault of nobody, and costs no other message";
            hubs::never_read "what is granted to who is gone without having taken it is withdrawn, on either side";
            hubs::lost_link "a link that there is no room to open is refused whole, or has its guest dismissed";
            hubs::freed_meanwhile "who would wait for a slot that was given back meanwhile does not sleep";
            hubs::waited_for "who finds no slot free sleeps until one is given back";
            hubs::malformed "a guest that refers to what it may not is recovered, and the other is served";
            hubs::corpus "every script of a hostile guest that the fuzzer has kept is answered over a pool that is mapped twice";
            hubs::hostile "a guest that lies about any word is recovered, and the other is served";
            hubs::shapes "hubs of no guests, or of rings that can not be or that nobody has memory for, are refused";

            rings::in_order "messages cross two processes whole and in order";
            rings::both_sleep "either end sleeps until the other is there";
            rings::drained_then_closed "an end that is gone is seen after the last message";
            rings::killed_peer "a sleeper is woken when its peer is killed";
            rings::producer_pages "a producer can't write the header or the consumer's page";
            rings::consumer_pages "a consumer can't write the header, the producer's page or the data";
            rings::hostile_producer "impossible words from a producer are PeerFault";
            rings::hostile_consumer "impossible words from a consumer are PeerFault";
            rings::deadlines "waiting ends at its deadline, or at once when there is none";
            rings::mapped_once "the view of an end is mapped once and gone with the end";
            rings::geometry "rings of impossible size are refused";
            rings::every_kind "every kind and form carries messages across the wrap of its indices";
            rings::borders "messages of no byte, of one and of as many as fit pass, and one of one more is refused at once";
            rings::odd_shapes "what no ring can be is refused, and what one can be is as large as it is to be";
            rings::endings "in order, gone, revoked and faulty are four different answers, after the last message";
            rings::closed_again "an end is closed once, and a peer that broke the protocol is told so once";
            rings::half_closed "each direction of a duplex ends by itself";
            rings::passed_on "an end that moves goes on where it was, while its peer sleeps";
            rings::emptied_elsewhere "who sleeps for room is woken by whoever its peer has moved to";
            rings::half_received "ends that move with messages between them go on with each where it was, half received or not";
            rings::another_kind "an end that is opened as what it is not stays as it is";
            rings::half_open "a side of a duplex of which one end can't be opened has the other one as it was";
            rings::in_one_process "both ends can be one process's";
            rings::taken_while_asleep "an end that is taken away wakes who sleeps there";
            rings::gathered "a producer that dies keeps no other back";
            rings::watched_too "what is waited for besides rings is told of however much comes by them";
            rings::too_large "a message that is longer than there is room for is left, and keeps nobody back";
            rings::no_wakeup_lost "two that put each other to sleep 100,000 times always wake";
            rings::thresholds "who sleeps until there is more than one is woken by the step that makes it enough";
            rings::kept_from_nothing "who is told for ever of a message that is not there is told by a liar";
            rings::ends_of_tasks "an end at which tasks wait is closed and kept, and handed on, like any other";
            rings::conversations "tasks of one thread converse with several processes at once, over every kind of ring";
            rings::room_and_death "a task waits for room, and learns of the death of its peer";
            rings::woken_by_threads "tasks that another thread makes and wakes end the sleep of who runs them";
            rings::any_words "whatever a peer writes, the other end answers";
            rings::corpus "every script of a hostile peer that the fuzzer has kept is answered over rings of the kernel";

            submissions::each_operation "every operation does in a submission ring what its call does";
            submissions::links "a chain goes on while it succeeds, and waits with what waits in it";
            submissions::waits "what waits completes later: by a signal, a time, a cancel, or room in a channel";
            submissions::registered "a registered handle is known to every ring of its process, and its number to nobody afterwards";
            submissions::registered_inside "entries register a handle, use it and let it go, also when the thread of the ring serves them";
            submissions::registered_in_transit "who lets a handle go waits for what uses it, also while its capability is on its way";
            submissions::registered_regions "regions are copied, mapped and kept by their registered numbers, and a copy whose second is unknown uses neither";
            submissions::refusals "an entry that waits does not count as refused, and one that comes to nothing does, once";
            submissions::chains_in_chains "chains that cancel one another, all of which go on at once, take no more of the kernel's stack than one";
            submissions::polled "a ring is served by a thread of its own, awake or asleep, which ends with its process";
            submissions::published "who publishes entries is told so, also where the wait behind them ends before what it is for";
            submissions::reduced "the thread of a ring takes no more entries once its capability allows none, and who submits is told";
            submissions::shapes "rings of no sizes, of wrong ones and of too large ones are refused, and the edges work";
            submissions::reaped "entries that were left for want of room are served once completions are taken out, also by a thread that rests";
            submissions::crowds "thousands of waits at a few objects end at once, by a cancel, with their ring or with their process";
            submissions::never_reaped "completions that nobody takes are never overwritten";
            submissions::corpus "every script of a hostile process that the fuzzer has kept is answered by the kernel";
            submissions::hostile "a thread that writes every shared word while the kernel works harms nobody";

            processes::arguments "a process finds its arguments and its handles in order";
            processes::exit_status "the status of a process is told to everyone that asks, as often as it asks";
            processes::wait_deadline "waiting for a process ends at the deadline";
            processes::kill_spinning "a process that spins can be killed";
            processes::kill_sleeping "a process that sleeps can be killed";
            processes::preemption "a process that spins does not keep the others from its CPU";
            processes::many "64 processes run at once and are gone";
            processes::too_many "processes run out at the limit, and come back";
            processes::refused_spawn "a spawn that is refused leaves every handle where it was";
            processes::bases "the mappings of processes begin at different places";
            processes::poor_children "a spawn that ends for want of quota, anywhere, leaves nothing of the child";
            processes::separate_images "two instances of a program share no variable";
            processes::vector_state "SSE registers survive switches between processes";
            processes::selectors "the segment selectors of a process are not told to the next";

            threads::shared_memory "two threads on two CPUs see what the other writes";
            threads::unmap_elsewhere "what one thread unmapped, another on its CPU can't read";
            threads::come_and_go "a hundred threads run and leave nothing behind";
            threads::exit_everywhere "a process ends with all its threads, wherever they are";
            threads::last_one "a process ends with its last thread, whichever that is";
            threads::local_storage "each thread finds its own base of FS, whatever others do to theirs";
            threads::storage_in_calls "each thread finds its own base of FS after calls from hand to hand";
            threads::bad_arguments "threads that begin nowhere, on no CPU or with reserved fields are refused";
            threads::too_many "threads run out at the limit, and end with their process";
            threads::facts "a thread tells its calls, its CPU and how it ended";
            threads::ended_unborn "a process that is killed while it is spawned never begins";
            threads::stopped "a process that was spawned stopped runs when it is resumed, or ends";

            priorities::urgent_first "a more urgent thread runs as soon as it wakes up";
            priorities::fair_share "threads of one priority share their CPU fairly";
            priorities::reaper "the least urgent process ends when it is killed, though its CPU is busy";
            priorities::above_all "what has to end is more urgent than the most urgent program";
            priorities::turns "a slice that ends in a call which sleeps is not the end of the next one";
            priorities::set_by_two "a thread whose priority is set by itself and by another at once competes at what it tells";
            priorities::ceilings "no thread is more urgent than its process may be, and no process than its parent";
            priorities::confined "no process runs where its parent may not";

            supervision::resume "a thread that faults stops until its supervisor has it go on, there or elsewhere";
            supervision::kill_stopped "a process whose thread has stopped can be killed";
            supervision::watcher_gone "without a supervisor a fault ends the process, also when it goes later";
            supervision::many_threads "each thread stops for itself";
            supervision::fuse "a process ends after exactly so many entries into the kernel";

            quotas::tiny_regions "tiny regions end with the quota, and come back, as often as one likes";
            quotas::refusals "what the quota does not cover is Quota, and the process goes on";
            quotas::families "what a process and its children have together stays within its quota";
            quotas::moves "whoever accepts a Move pays, and the token is good until it can";
            quotas::killed_anywhere "a process killed at any of a hundred moments leaves nothing behind";
            sweep::kernel_calls "processes, threads, images and traces are refused for the want of any quota, and nothing is changed";
            sweep::scarce "nor is it by calls that are refused while memory ends, a page at a time";
            sweep::many_pieces "as many pieces as a program chooses take nothing of what is kept for those that can't fail";

            services::names "a name is registered, found, withdrawn, and gone with its session or its end";
            services::watch "who watches a name hears when it appears and when it goes";
            services::patience "who gives up waiting for a name leaves nothing behind at the name service";
            services::shared_patience "nor do threads that share a session and all give up at once";
            services::scarce "a session whose message can't be received for a moment goes on";
            services::scarce_restart "a service that can't be started again for a moment is started a moment later";
            services::bereft "who waits for a name hears when the name service ends";
            services::reconnect "clients of a service that dies see it, and find the next one under its name";
            services::many_clients "fifty clients find a service and are answered";
            services::supervised "a service that faults or fails is started again, and then no more";
            services::given_up "a program whose service is given up by its supervisor says so and ends";
            services::lock "an urgent thread that waits for a lock lets its holder go on";
            services::hostile "whatever a client sends to the name service, it and the others go on";

            timers::once "a timer sets its bits at its time, once";
            timers::past "a time in the past is now";
            timers::periodic "a periodic timer keeps its rhythm, and makes up once for what was missed";
            timers::anew "a timer that is set anew forgets what was set before";
            timers::dropped "a timer that is dropped, or that has nobody to tell, is silent";
            timers::authority "a timer ends with the capability that it was made with";
            timers::thousand "a thousand timers all go off";
            timers::crowd "five hundred timers of 100 us leave half of the CPU";
            timers::elsewhere "a timer of one CPU is set anew on another";
            timers::another_clock "as much time goes by on the clock as on another one of the machine, whichever CPU looks";
            timers::refused "a timer without a right, a bit or a sensible period is refused";

            waiting::round_trips "two processes on two CPUs wake each other ten thousand times, and no signal is lost";
            waiting::deadlines "a deadline of 0 never waits, one in the past never for long, and neither takes anything";
            waiting::left_over "who is woken before its time is not woken at it again, and finds later times, earlier ones and none as they are";
            waiting::handed_on "who waits until a time hands its CPU over to who it wakes, as who waits for ever does";
            waiting::refused "signals of no bit, events of no object and waits without a right are refused";
            waiting::cancel "a wait is cancelled by its own process and by nobody else";
            waiting::revoked "whoever waits by what is revoked wakes up with Revoked";
            waiting::dropped "a wait by a handle that is dropped is cancelled";
            waiting::crowd "sixty threads wait at one notification, and each gets one of sixty bits";
            waiting::killed "a process that is killed while it waits leaves neither waits nor bindings";
            waiting::many_objects "a port tells of signals, and of the ends of rings, threads and processes";
            waiting::port_modes "a binding tells as long as an event holds, or each time that it comes, or once";
            waiting::port_refused "a port is bound to no port, to no more than its limit, and loses nothing that it can't deliver";

            interrupts::messages "every interrupt of a device has a message of its own";
            interrupts::limit "a CPU has so many lines, and one that was given back rests";
            interrupts::refused "an interrupt without a right or a bit is refused";

            examples::strangers "a collector of logs sends away who comes and says nothing, and comes to its end";
            examples::nonsense "a collector of logs takes its ring away from who says what no writer does, and goes on";

            fuses::by_itself "a process that ends at any entry into the kernel leaves nothing behind";
            fuses::with_threads "neither does one with threads";
            fuses::at_submissions "a process with operations in submission rings ends at each of its entries";
            fuses::at_a_ring "either end of a ring can end at any entry, and the other notices";
            fuses::in_calls "so can a caller and a server";
            fuses::from_hand_to_hand "so can those whose calls go from hand to hand, on one CPU and on two";
            fuses::at_a_port "so can who waits at a port and who is waited for";
            fuses::with_grants "so can who has offered and who accepts";

            demos::handed_over "producer, consumer and name service can end at any entry, and all that they had is returned";
            demos::found "so can the name service, who registers there and who looks it up";
            demos::served "so can a program that starts a supervisor and the clients of what that keeps running";
            demos::named "so can the name service by which those find one another";
            demos::supervised "so can a supervisor, the name service and the client of what it keeps running";
            demos::counted "so can a program that prints what the system has counted";
            demos::traced "so can the one that writes a trace down, and the next one gets a trace of its own";
            demos::restarted "so can the service itself, and its client loses nothing";

            examples::search "so can each of the processes of a search, and the others end by themselves";
            examples::logs "so can a collector of logs, each writer, and the name service by which they find it";
            examples::kv "so can who starts a key-value server and its clients, which end by themselves";
            examples::kept "so can the server itself, and its client loses nothing; and its supervisor, and the client";
            drivers::drawn "so can either process of a picture";
            drivers::kept "so can a driver that a supervisor keeps running, and its client gets every answer";
            drivers::driven "so can a driver, and the next one finds a device that works";

            races::derive "a revoke beside a process that derives leaves nothing below that works";
            races::offer "a revoke beside one that grants leaves nothing below that works";
            races::accept "a revoke beside one that accepts leaves nothing below that works";
            races::mapping "a revoke beside one that maps leaves nothing below that works";
            races::fault "a revoke beside one that takes faults leaves nothing below that works";
            races::moves "a revoke beside one that moves leaves nothing below that works";
            races::copy "a revoke beside one that copies leaves nothing below that works";
            races::snapshot "a revoke beside one that takes snapshots leaves nothing below that works";
            races::dropping "a revoke beside one that drops leaves nothing below that works";
            races::exit "a revoke beside one that ends leaves nothing below that works";
            races::send "a revoke beside one that sends and receives leaves nothing below that works";
            races::call "a revoke beside one that calls leaves nothing below that works";
            races::waits "a revoke beside one that waits leaves nothing below that works";
            races::hubs "whatever guests and the host do at hubs that end, nobody sleeps on and nothing is kept";

            images::truncated "a file that ends early is no program";
            images::header "a file for another machine, class or use is no program";
            images::segments "segments that overlap, leave the user half or are writable and executable are refused";
            images::entry "an entry outside of what can be executed is refused";
            images::not_sealed "an image is made of a sealed region only";
            images::every_byte "no header byte, changed in any way, harms the kernel";
        }
    };
}

/// The case that is as urgent as a program can be.
pub const MOST_URGENT: &str = "priorities.above_all";

macro_rules! list {
    ($($module:ident :: $case:ident $sentence:literal;)*) => {
        /// The name of each case, and what it shows in a sentence.
        pub const CASES: &[(&str, &str)] =
            &[$((concat!(stringify!($module), ".", stringify!($case)), $sentence)),*];
    };
}

for_each_case!(list);

/// Whether a filter takes a case: its id contains one of the words that commas separate.
pub fn is_taken(filter: &str, id: &str) -> bool {
    filter.split(',').any(|word| id.contains(word))
}

/// Whether there is a case that a filter takes.
pub fn are_some(filter: &str) -> bool {
    CASES.iter().any(|(id, _)| is_taken(filter, id))
}
