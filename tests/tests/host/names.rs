//! What the name service knows, beside a plain model of it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::rc::Rc;

use programs::names::{Counts, MAX_SESSIONS, Name, Refusal, Registry, TENANT, Tell};
use proptest::collection::vec;
use proptest::prelude::*;

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
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

/// Nothing more to check.
fn admit(_: u64, _: &u64) -> Result<(), Refusal> {
    Ok(())
}

#[test]
fn nobody_is_told_of_a_name_that_is_refused_at_last() {
    let mut known = Known::new();
    let session = known.attach(Known::ROOT).expect("a session");
    let (clock, ear) = (name("clock"), Ear::default());
    let watching = known.watch(Known::ROOT, clock, [APPEARED, GONE], ear.clone());
    watching.expect("a watch");
    let before = known.counts();
    for _ in 0..=TENANT.names {
        let refused = known.register(session, clock, 1, |_, _| Err(Refusal::Limit));
        assert_eq!(refused, Err(Refusal::Limit));
    }
    assert_eq!(known.counts(), before);
    assert!(known.find(clock).is_none() && ear.heard.borrow().is_empty());
    let mut told = 0;
    let registered = known.register(session, clock, 7, |number, end| {
        told = number + end;
        Ok(())
    });
    assert_eq!(registered.map(|number| number + 7), Ok(told));
    assert_eq!(*ear.heard.borrow(), [APPEARED]);
}

#[test]
fn a_watcher_hears_at_once_what_is_there_and_then_what_changes() {
    let mut known = Known::new();
    let session = known.attach(Known::ROOT).expect("a session");
    let ear = Ear::default();
    let clock = name("clock");
    let early = Ear::default();
    let watching = known.watch(session, clock, [APPEARED, GONE], early.clone());
    watching.expect("a watch");
    known
        .register(session, clock, 1, admit)
        .expect("it is free");
    let watching = known.watch(Known::ROOT, clock, [APPEARED, GONE], ear.clone());
    let watch = watching.expect("a watch");
    assert_eq!(known.withdraw(session, clock), Ok(1));
    known
        .register(session, clock, 2, admit)
        .expect("it is free");
    known.close(session);
    assert_eq!(*ear.heard.borrow(), [APPEARED, GONE, APPEARED, GONE]);
    assert_eq!(
        *early.heard.borrow(),
        [APPEARED, GONE, APPEARED],
        "it closed"
    );
    known.unwatch(Known::ROOT, watch).expect("it is there");
    known
        .register(Known::ROOT, clock, 3, admit)
        .expect("it is free");
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
        known
            .register(session, text(number), 0, admit)
            .expect("within");
    }
    assert_eq!(
        known.register(own[3], name("more"), 0, admit),
        Err(Refusal::Limit)
    );
    for number in 0..TENANT.watches {
        let session = own[number % own.len()];
        let watch = known.watch(session, text(number), [0, 0], Ear::default());
        watch.expect("within");
    }
    let more = known.watch(greedy, name("more"), [0, 0], Ear::default());
    assert_eq!(more, Err(Refusal::Limit));

    let modest = known.attach(Known::ROOT).expect("a session");
    known.attach(modest).expect("another");
    known
        .register(modest, name("more"), 0, admit)
        .expect("it is free");
    for session in own {
        known.close(session);
    }
    assert_eq!(
        known.counts(),
        Counts {
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
                    let registered = known.register(session(index), names[name], end, admit);
                    let is_taken = model.names.contains_key(&names[name]);
                    match registered {
                        Ok(key) => {
                            prop_assert!(!is_taken && model.sessions.contains(&session(index)));
                            model.names.insert(names[name], (session(index), key, end));
                            model.tell(names[name], APPEARED);
                        }
                        Err(Refusal::Exists) => prop_assert!(is_taken),
                        Err(refusal) => {
                            prop_assert_eq!(refusal, Refusal::NotFound);
                            prop_assert!(!model.sessions.contains(&session(index)));
                        }
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
}
