//! The name service without its channels: the messages, and what it knows beside a plain model of it.
//! And when a supervisor tries again.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::rc::Rc;

use programs::names::{MAX_SESSIONS, Registry, TENANT, Tell};
use programs::store;
use programs::supervision::{FIRST_PAUSE, FORGET, LONGEST_PAUSE, Next, RESTARTS, Restarts};
use proptest::collection::vec;
use proptest::prelude::*;
use rt::names::protocol::{
    MAX_NAME, MAX_REQUEST, Name, Refusal, Request, decode_answer, decode_introduction,
    encode_answer, encode_introduction,
};

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn any_name() -> impl Strategy<Value = Name> {
    "[!-~]{1,32}".prop_map(|text| name(&text))
}

fn any_request() -> impl Strategy<Value = Request> {
    prop_oneof![
        any_name().prop_map(Request::Register),
        any_name().prop_map(Request::LookUp),
        any_name().prop_map(Request::Withdraw),
        (any_name(), any::<u64>(), any::<u64>()).prop_map(|(name, appeared, gone)| {
            Request::Watch {
                name,
                appeared,
                gone,
            }
        }),
        any::<u64>().prop_map(Request::Unwatch),
        Just(Request::Attach),
    ]
}

proptest! {
    #[test]
    fn a_request_is_read_as_it_was_written(request in any_request()) {
        let mut buffer = [0xff; MAX_REQUEST];
        let bytes = request.encode(&mut buffer);
        prop_assert_eq!(Request::decode(bytes), Ok(request));
        prop_assert_eq!(decode_introduction(bytes), None);
    }

    #[test]
    fn an_introduction_is_read_as_it_was_written(name in any_name()) {
        let mut buffer = [0xff; MAX_REQUEST];
        let bytes = encode_introduction(name, &mut buffer);
        prop_assert_eq!(decode_introduction(bytes), Some(name));
        prop_assert_eq!(Request::decode(bytes), Err(Refusal::Malformed));
    }

    /// There is one way to write a request: what differs in a byte is another one or none.
    #[test]
    fn whatever_bytes_come_they_are_the_ones_of_a_request_or_refused(bytes in vec(any::<u8>(), 0..80)) {
        if let Ok(request) = Request::decode(&bytes) {
            let mut buffer = [0; MAX_REQUEST];
            prop_assert_eq!(request.encode(&mut buffer), &bytes[..]);
        }
    }

    #[test]
    fn a_spoilt_request_is_another_one_or_refused(
        request in any_request(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut buffer = [0; MAX_REQUEST];
        let mut bytes = request.encode(&mut buffer).to_vec();
        let place = place.index(bytes.len());
        if cut {
            bytes.truncate(place);
            prop_assert!(Request::decode(&bytes).is_err());
        } else {
            bytes[place] = byte;
            if let Ok(read) = Request::decode(&bytes) {
                let mut again = [0; MAX_REQUEST];
                prop_assert_eq!(read.encode(&mut again), &bytes[..]);
            }
        }
    }

    #[test]
    fn answers_are_read_as_they_were_written(value in any::<u64>(), words in any::<[u64; 4]>()) {
        prop_assert_eq!(decode_answer(encode_answer(Ok(value))), Some(Ok(value)));
        if let Some(answer) = decode_answer(words) {
            prop_assert_eq!(encode_answer(answer), words);
        }
    }
}

#[test]
fn every_refusal_is_told_apart() {
    for refusal in Refusal::ALL {
        assert_eq!(
            decode_answer(encode_answer(Err(refusal))),
            Some(Err(refusal))
        );
    }
}

#[test]
fn a_name_has_1_to_32_visible_characters() {
    let longest = "x".repeat(MAX_NAME);
    for text in ["a", "a.b/c-d_e", &longest] {
        assert_eq!(name(text).as_str(), text);
    }
    for text in ["", "a b", "tab\t", "nul\0", "ä", &(longest + "x")] {
        assert_eq!(Name::new(text), None, "{text:?}");
    }
}

/// What a watcher has heard.
#[derive(Clone, Debug, Default)]
struct Ear {
    heard: Rc<RefCell<Vec<u64>>>,
    deaf: Rc<Cell<bool>>,
}

impl Tell for Ear {
    fn tell(&self, bits: u64) -> ControlFlow<()> {
        if self.deaf.get() {
            return ControlFlow::Break(());
        }
        self.heard.borrow_mut().push(bits);
        ControlFlow::Continue(())
    }
}

type Known = Registry<u64, Ear>;

const APPEARED: u64 = 1;
const GONE: u64 = 2;

#[test]
fn a_watcher_hears_at_once_what_is_there_and_then_what_changes() {
    let mut known = Known::new();
    let session = known.attach(Known::ROOT).expect("a session");
    let ear = Ear::default();
    let clock = name("clock");
    let early = Ear::default();
    let watching = known.watch(session, clock, [APPEARED, GONE], early.clone());
    watching.expect("a watch");
    known.register(session, clock, 1).expect("it is free");
    let watching = known.watch(Known::ROOT, clock, [APPEARED, GONE], ear.clone());
    let watch = watching.expect("a watch");
    assert_eq!(known.withdraw(session, clock), Ok(1));
    known.register(session, clock, 2).expect("it is free");
    known.close(session);
    assert_eq!(*ear.heard.borrow(), [APPEARED, GONE, APPEARED, GONE]);
    assert_eq!(
        *early.heard.borrow(),
        [APPEARED, GONE, APPEARED],
        "it closed"
    );
    known.unwatch(Known::ROOT, watch).expect("it is there");
    known.register(Known::ROOT, clock, 3).expect("it is free");
    assert_eq!(ear.heard.borrow().len(), 4);
}

#[test]
fn a_tenant_is_limited_as_a_whole_and_nobody_else_with_it() {
    let mut known = Known::new();
    let greedy = known.attach(Known::ROOT).expect("a session");
    let mut own = vec![greedy];
    while let Ok(session) = known.attach(own[own.len() / 2]) {
        own.push(session);
    }
    assert_eq!(own.len(), TENANT.sessions);
    let text = |number: usize| name(&format!("name-{number}"));
    for number in 0..TENANT.names {
        let session = own[number % own.len()];
        known.register(session, text(number), 0).expect("within");
    }
    assert_eq!(known.register(own[3], name("more"), 0), Err(Refusal::Limit));
    for number in 0..TENANT.watches {
        let session = own[number % own.len()];
        let watch = known.watch(session, text(number), [0, 0], Ear::default());
        watch.expect("within");
    }
    let more = known.watch(greedy, name("more"), [0, 0], Ear::default());
    assert_eq!(more, Err(Refusal::Limit));

    let modest = known.attach(Known::ROOT).expect("a session");
    known.attach(modest).expect("another");
    known.register(modest, name("more"), 0).expect("it is free");
    for session in own {
        known.close(session);
    }
    assert_eq!(
        known.counts(),
        programs::names::Counts {
            sessions: 3,
            names: 1,
            watches: 0
        }
    );
}

#[test]
fn sessions_end_at_the_limit_and_come_back() {
    let mut known = Known::new();
    let mut sessions = Vec::new();
    while let Ok(session) = known.attach(Known::ROOT) {
        sessions.push(session);
    }
    assert_eq!(sessions.len(), MAX_SESSIONS - 1);
    known.close(sessions[7]);
    assert!(known.attach(Known::ROOT).is_ok());
    assert_eq!(known.attach(sessions[7]), Err(Refusal::NotFound));
}

/// What the model knows: sessions with the names and watches of each, in plain sets.
#[derive(Default)]
struct Model {
    sessions: BTreeSet<u64>,
    names: BTreeMap<Name, (u64, u64, u64)>,
    watches: BTreeMap<u64, (u64, Name, Ear, Vec<u64>)>,
}

impl Model {
    fn tell(&mut self, name: Name, bits: u64) {
        for (_, watched, ear, expected) in self.watches.values_mut() {
            if *watched == name && !ear.deaf.get() {
                expected.push(bits);
            }
        }
        self.watches
            .retain(|_, watch| watch.1 != name || !watch.2.deaf.get());
    }

    fn remove(&mut self, name: Name) {
        self.names.remove(&name);
        self.tell(name, GONE);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Attach(usize),
    Close(usize),
    Register(usize, usize),
    Withdraw(usize, usize),
    Lose(usize),
    Watch(usize, usize),
    Unwatch(usize, usize),
    Deafen(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    let (session, name) = (0_usize..8, 0_usize..5);
    let both = (session.clone(), name.clone());
    prop_oneof![
        session.clone().prop_map(Step::Attach),
        session.clone().prop_map(Step::Close),
        both.clone().prop_map(|(s, n)| Step::Register(s, n)),
        both.clone().prop_map(|(s, n)| Step::Register(s, n)),
        both.clone().prop_map(|(s, n)| Step::Withdraw(s, n)),
        name.clone().prop_map(Step::Lose),
        both.clone().prop_map(|(s, n)| Step::Watch(s, n)),
        both.prop_map(|(s, w)| Step::Unwatch(s, w)),
        (0_usize..8).prop_map(Step::Deafen),
    ]
}

proptest! {
    #[test]
    fn the_registry_is_what_the_model_says(steps in vec(any_step(), 1..120)) {
        let names = ["a", "b", "c", "d", "e"].map(name);
        let mut known = Known::new();
        let mut model = Model::default();
        model.sessions.insert(Known::ROOT);
        let mut end = 0;
        // Sessions and watches by age, those that are gone too.
        let (mut sessions, mut watches) = (vec![Known::ROOT], Vec::<u64>::new());
        for step in steps {
            let session = |index: usize| sessions[index % sessions.len()];
            let watch = |index: usize| watches.get(index % watches.len().max(1)).copied();
            match step {
                Step::Attach(by) => {
                    let attached = known.attach(session(by));
                    if !model.sessions.contains(&session(by)) {
                        prop_assert_eq!(attached, Err(Refusal::NotFound));
                    } else if let Ok(number) = attached {
                        prop_assert!(model.sessions.insert(number));
                        sessions.push(number);
                    }
                }
                Step::Close(index) => {
                    let closed = session(index);
                    known.close(closed);
                    model.sessions.remove(&closed);
                    model.watches.retain(|_, watch| watch.0 != closed);
                    let own = model.names.iter().filter(|(_, entry)| entry.0 == closed);
                    for name in own.map(|(name, _)| *name).collect::<Vec<_>>() {
                        model.remove(name);
                    }
                }
                Step::Register(index, name) => {
                    end += 1;
                    let registered = known.register(session(index), names[name], end);
                    if !model.sessions.contains(&session(index)) {
                        prop_assert_eq!(registered, Err(Refusal::NotFound));
                    } else if model.names.contains_key(&names[name]) {
                        prop_assert_eq!(registered, Err(Refusal::Exists));
                    } else {
                        let key = registered.expect("a free name");
                        model.names.insert(names[name], (session(index), key, end));
                        model.tell(names[name], APPEARED);
                    }
                }
                Step::Withdraw(index, name) => {
                    let withdrawn = known.withdraw(session(index), names[name]);
                    match model.names.get(&names[name]) {
                        Some(&(by, _, end)) if by == session(index) => {
                            prop_assert_eq!(withdrawn, Ok(end));
                            model.remove(names[name]);
                        }
                        _ => prop_assert_eq!(withdrawn, Err(Refusal::NotFound)),
                    }
                }
                Step::Lose(name) => {
                    let entry = model.names.get(&names[name]).copied();
                    if let Some((_, key, end)) = entry {
                        prop_assert_eq!(known.lost(key), Some(end));
                        prop_assert_eq!(known.lost(key), None);
                        model.remove(names[name]);
                    }
                }
                Step::Watch(index, name) => {
                    let ear = Ear::default();
                    let watched = known.watch(
                        session(index),
                        names[name],
                        [APPEARED, GONE],
                        ear.clone(),
                    );
                    if !model.sessions.contains(&session(index)) {
                        prop_assert_eq!(watched, Err(Refusal::NotFound));
                    } else if let Ok(key) = watched {
                        let is_there = model.names.contains_key(&names[name]);
                        let expected = if is_there { vec![APPEARED] } else { Vec::new() };
                        let watch = (session(index), names[name], ear, expected);
                        model.watches.insert(key, watch);
                        watches.push(key);
                    }
                }
                Step::Unwatch(index, which) => {
                    if let Some(key) = watch(which) {
                        let unwatched = known.unwatch(session(index), key);
                        let is_own = (model.watches.get(&key))
                            .is_some_and(|watch| watch.0 == session(index));
                        prop_assert_eq!(unwatched.is_ok(), is_own);
                        if is_own {
                            model.watches.remove(&key);
                        }
                    }
                }
                Step::Deafen(which) => {
                    if let Some(watch) = watch(which).and_then(|key| model.watches.get(&key)) {
                        watch.2.deaf.set(true);
                    }
                }
            }
            let counts = known.counts();
            prop_assert_eq!(
                [counts.sessions, counts.names, counts.watches],
                [model.sessions.len(), model.names.len(), model.watches.len()]
            );
            for name in names {
                let found = known.find(name).map(|(key, end)| (key, *end));
                let expected = model.names.get(&name).map(|&(_, key, end)| (key, end));
                prop_assert_eq!(found, expected);
            }
            for (_, _, ear, expected) in model.watches.values() {
                prop_assert_eq!(&*ear.heard.borrow(), expected);
            }
        }
    }

    #[test]
    fn a_request_to_the_store_is_read_as_it_was_written(words in any::<[u64; 4]>(), small in any::<bool>()) {
        let words = if small { words.map(|word| word % 7) } else { words };
        if let Some(request) = store::Request::decode(words) {
            prop_assert_eq!(request.encode(), words);
        }
    }
}

#[test]
fn a_service_that_keeps_ending_is_tried_ever_later_and_then_given_up() {
    let mut restarts = Restarts::new();
    let mut pauses = Vec::new();
    loop {
        match restarts.ended(0) {
            Next::Restart { pause, count } => {
                pauses.push(pause);
                assert_eq!(count as usize, pauses.len());
            }
            Next::GiveUp => break,
        }
    }
    assert_eq!(pauses.len(), RESTARTS as usize);
    assert_eq!(pauses[0], FIRST_PAUSE);
    assert!(
        pauses
            .windows(2)
            .all(|pair| pair[1] == (pair[0] * 2).min(LONGEST_PAUSE))
    );
    assert_eq!(restarts.ended(FORGET - 1), Next::GiveUp);
}

#[test]
fn a_service_that_lived_for_a_while_starts_over() {
    let mut restarts = Restarts::new();
    for _ in 0..10 * RESTARTS {
        let next = Next::Restart {
            pause: FIRST_PAUSE,
            count: 1,
        };
        assert_eq!(restarts.ended(FORGET), next);
    }
}
