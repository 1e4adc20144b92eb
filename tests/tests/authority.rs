//! Random operations of several domains, compared with a model that knows nothing of trees, tables
//! and page tables (I4, I5, I6, I11).

mod common;

use std::sync::Arc;

use abi::{Error, Mode, Rights};
use common::authority::{Authority, Holder, Mapped, Node, Pending};
use common::realm::Realm;
use common::{READ, WRITE};
use mm::Region;
use proptest::prelude::*;

const DOMAINS: usize = 4;

/// What a domain does. Numbers of handles, tokens and mappings count those that were ever given
/// out, so that also those that are gone are tried.
#[derive(Clone, Copy, Debug)]
enum Step {
    Create(usize),
    Derive(usize, Rights),
    Drop(usize),
    Revoke(usize),
    Destroy(usize),
    Map(usize, bool),
    Unmap(usize),
    Store(usize, u64),
    Grant(usize, usize, Mode, Rights),
    /// By its addressee from its grantor, or by anybody from anybody.
    Accept(usize, Option<(usize, usize)>),
    Cancel(usize, Option<usize>),
    Exit(usize),
}

fn rights() -> impl Strategy<Value = Rights> {
    prop_oneof![
        3 => Just(Rights::all()),
        1 => Just(Rights::all() - Rights::ACCESS),
        2 => any::<u32>().prop_map(Rights::from_bits_truncate),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let which = || 0..64usize;
    let mode = || {
        prop_oneof![
            4 => Just(Mode::Move),
            4 => Just(Mode::Share),
        ]
    };
    let liar = || prop::option::weighted(0.2, (0..DOMAINS, 0..DOMAINS));
    prop_oneof![
        4 => (0..DOMAINS).prop_map(Step::Create),
        5 => (which(), rights()).prop_map(|(handle, rights)| Step::Derive(handle, rights)),
        4 => which().prop_map(Step::Drop),
        2 => which().prop_map(Step::Revoke),
        1 => which().prop_map(Step::Destroy),
        8 => (which(), any::<bool>()).prop_map(|(handle, write)| Step::Map(handle, write)),
        3 => which().prop_map(Step::Unmap),
        6 => (which(), any::<u64>()).prop_map(|(at, value)| Step::Store(at, value)),
        10 => (which(), 0..DOMAINS, mode(), rights())
            .prop_map(|(handle, to, mode, rights)| Step::Grant(handle, to, mode, rights)),
        8 => (which(), liar()).prop_map(|(token, liar)| Step::Accept(token, liar)),
        3 => (which(), prop::option::weighted(0.2, 0..DOMAINS))
            .prop_map(|(token, by)| Step::Cancel(token, by)),
        1 => (0..DOMAINS).prop_map(Step::Exit),
    ]
}

/// One object: its region, and the first word of its memory.
struct Object {
    region: Arc<Region>,
    word: u64,
}

struct Model {
    realm: Realm,
    authority: Authority,
    objects: Vec<Object>,
}

impl Model {
    fn new(seed: u64) -> Model {
        let config = fake::Config {
            frames: 1500,
            seed,
            ..fake::Config::default()
        };
        Model {
            realm: Realm::of(DOMAINS, config),
            authority: Authority::default(),
            objects: Vec::new(),
        }
    }

    fn apply(&mut self, step: Step) {
        let Model {
            realm,
            authority,
            objects,
        } = self;
        let ipc = realm.ipc.clone();
        let some = |number: usize, of: usize| (of > 0).then(|| number % of);
        let handle_of = |authority: &Authority, number| {
            some(number, authority.handles.len()).map(|at| (at, authority.handles[at]))
        };
        match step {
            Step::Create(domain) => {
                if authority.ended.contains(&domain) {
                    return;
                }
                let handle = realm.region(domain, 1);
                let node = authority.add(Node {
                    object: objects.len(),
                    parent: None,
                    rights: Rights::REGION,
                    holder: Holder::Nobody,
                    revoked: false,
                });
                objects.push(Object {
                    region: realm.region_of(domain, handle),
                    word: 0,
                });
                authority.issue(domain, handle, node);
            }
            Step::Derive(number, asked) => {
                let Some((_, from)) = handle_of(authority, number) else {
                    return;
                };
                let expected = authority.look_up(&from, Rights::DUPLICATE);
                let derived = realm.derive(from.domain, from.handle, asked);
                assert_eq!(derived.map(drop_value), expected.map(drop_value));
                if let (Ok(handle), Ok(parent)) = (derived, expected) {
                    let node = child(authority, parent, asked);
                    authority.issue(from.domain, handle, node);
                }
            }
            Step::Drop(number) => {
                let Some((at, held)) = handle_of(authority, number) else {
                    return;
                };
                let expected = match authority.look_up(&held, Rights::empty()) {
                    Ok(_) | Err(Error::Revoked) => Ok(()),
                    Err(error) => Err(error),
                };
                assert_eq!(realm.drop_handle(held.domain, held.handle), expected);
                if expected.is_ok() {
                    authority.handles[at].dropped = true;
                    authority.nodes[held.node].holder = Holder::Nobody;
                }
            }
            Step::Revoke(number) => {
                let Some((_, held)) = handle_of(authority, number) else {
                    return;
                };
                let expected = authority
                    .look_up(&held, Rights::REVOKE)
                    .map(|node| authority.kill(|all, at| all.is_below(at, node)));
                assert_eq!(realm.revoke(held.domain, held.handle), expected);
            }
            Step::Destroy(number) => {
                let Some((at, held)) = handle_of(authority, number) else {
                    return;
                };
                let expected = authority.look_up(&held, Rights::DESTROY);
                let domain = &realm.domains[held.domain];
                let destroyed = ipc.destroy_region(domain, held.handle);
                assert_eq!(destroyed, expected.map(drop_value));
                if let Ok(node) = expected {
                    let object = authority.nodes[node].object;
                    authority.kill(|all, at| all.nodes[at].object == object);
                    authority.handles[at].dropped = true;
                }
            }
            Step::Map(number, writable) => {
                let Some((_, held)) = handle_of(authority, number) else {
                    return;
                };
                let access = if writable { WRITE } else { READ };
                let expected = authority.look_up(&held, Rights::MAP | access);
                let mapped = realm.try_map(held.domain, held.handle, access);
                assert_eq!(mapped.map(drop_value), expected.map(drop_value));
                if let (Ok(va), Ok(node)) = (mapped, expected) {
                    let domain = held.domain;
                    authority.mappings.retain(|m| {
                        let taken = m.domain == domain && m.va == va;
                        assert!(!taken || m.dead, "{va:#x} was taken");
                        !taken
                    });
                    authority.mappings.push(Mapped {
                        domain,
                        node,
                        va,
                        writable,
                        dead: false,
                    });
                }
            }
            Step::Unmap(number) => {
                let Some(at) = some(number, authority.mappings.len()) else {
                    return;
                };
                let mapping = authority.mappings.swap_remove(at);
                if authority.ended.contains(&mapping.domain) {
                    return;
                }
                let unmapped = realm.unmap(mapping.domain, mapping.va);
                let swept = mapping.dead && unmapped == Err(Error::NotFound);
                assert!(swept || unmapped == Ok(()));
                assert!(!realm.reaches(mapping.domain, mapping.va));
            }
            Step::Store(number, value) => {
                let Some(at) = some(number, authority.mappings.len()) else {
                    return;
                };
                let mapping = authority.mappings[at];
                if mapping.dead {
                    return;
                }
                let (domain, va) = (mapping.domain, mapping.va);
                let stored = realm.store(domain, domain, va, value);
                let expected = mapping.writable.then_some(()).ok_or(Error::Denied);
                assert_eq!(stored, expected);
                if stored.is_ok() {
                    objects[authority.nodes[mapping.node].object].word = value;
                }
            }
            Step::Grant(number, to, mode, asked) => {
                let Some((at, held)) = handle_of(authority, number) else {
                    return;
                };
                if authority.ended.contains(&held.domain) {
                    return;
                }
                let needed = match mode {
                    Mode::Share => Ok(Rights::GRANT | Rights::DUPLICATE),
                    Mode::Move => Ok(Rights::GRANT | Rights::MOVE),
                    // A snapshot is another object; the model of memory has it.
                    Mode::CopyOnWrite => return,
                };
                let expected = if authority.ended.contains(&to) {
                    Err(Error::PeerClosed)
                } else {
                    needed
                        .and_then(|needed| authority.look_up(&held, needed))
                        .and_then(|node| match mode {
                            Mode::Move if authority.others_have_access(node) => Err(Error::Shared),
                            Mode::Move
                                if authority.descendants_exceed(
                                    node,
                                    authority.nodes[node].rights & asked,
                                ) =>
                            {
                                Err(Error::Shared)
                            }
                            _ => Ok(node),
                        })
                };
                let granted = realm.grant(held.domain, held.handle, to, mode, asked);
                assert_eq!(granted.map(drop_value), expected.map(drop_value));
                let (Ok(token), Ok(source)) = (granted, expected) else {
                    return;
                };
                let before = authority.nodes[source].rights;
                let node = if mode == Mode::Move {
                    authority.nodes[source].rights &= asked;
                    authority.nodes[source].holder = Holder::Transit;
                    authority.unmap_under(source);
                    source
                } else {
                    let node = child(authority, source, asked);
                    authority.nodes[node].holder = Holder::Token;
                    node
                };
                authority.tokens.push(Pending {
                    token,
                    from: held.domain,
                    to,
                    node,
                    mode,
                    source: at,
                    before,
                    open: true,
                });
            }
            Step::Accept(number, liar) => {
                let Some(at) = some(number, authority.tokens.len()) else {
                    return;
                };
                let pending = authority.tokens[at];
                let (by, from) = liar.unwrap_or((pending.to, pending.from));
                if authority.ended.contains(&by) {
                    return;
                }
                let accepted = realm.accept(by, pending.token, from);
                if !pending.open || (by, from) != (pending.to, pending.from) {
                    assert_eq!(accepted, Err(Error::NotFound));
                    return;
                }
                authority.tokens[at].open = false;
                if pending.mode == Mode::Move {
                    authority.handles[pending.source].dropped = true;
                }
                authority.issue(by, accepted.unwrap(), pending.node);
            }
            Step::Cancel(number, liar) => {
                let Some(at) = some(number, authority.tokens.len()) else {
                    return;
                };
                let pending = authority.tokens[at];
                let by = liar.unwrap_or(pending.from);
                let cancelled = realm.cancel(by, pending.token);
                if pending.open && by == pending.from {
                    assert_eq!(cancelled, Ok(()));
                    authority.take_back(at);
                } else {
                    assert_eq!(cancelled, Err(Error::NotFound));
                }
            }
            Step::Exit(domain) => {
                if !authority.ended.contains(&domain) {
                    realm.exit(domain);
                    authority.end(domain);
                }
            }
        }
    }

    /// Everything is as the model says.
    fn compare(&self) {
        let Model {
            realm,
            authority,
            objects,
        } = self;
        for held in &authority.handles {
            let expected = authority
                .look_up(held, Rights::empty())
                .map(|node| authority.nodes[node].rights);
            assert_eq!(realm.look_up(held.domain, held.handle), expected);
        }
        for mapping in &authority.mappings {
            let (domain, va) = (mapping.domain, mapping.va);
            if mapping.dead {
                assert!(!realm.reaches(domain, va));
            } else {
                let word = objects[authority.nodes[mapping.node].object].word;
                assert_eq!(realm.load(domain, domain, va), Ok(word));
            }
        }
        let alive: Vec<_> = (0..objects.len())
            .filter(|object| authority.is_alive(*object))
            .map(|object| objects[object].region.clone())
            .collect();
        let processes = DOMAINS * (DOMAINS - authority.ended.len());
        let expected = (alive.len() + processes) as u64;
        assert_eq!(realm.ipc.object_count(), expected, "objects");
        realm.audit(&alive);
    }
}

fn drop_value<T>(_: T) {}

fn child(authority: &mut Authority, parent: usize, asked: Rights) -> usize {
    let parent_node = &authority.nodes[parent];
    let node = Node {
        object: parent_node.object,
        parent: Some(parent),
        rights: parent_node.rights & asked,
        holder: Holder::Nobody,
        revoked: false,
    };
    authority.add(node)
}

proptest! {
    #![proptest_config(common::cases(48))]

    #[test]
    fn authority_is_what_was_given_and_not_taken(
        seed: u64,
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut model = Model::new(seed);
        for step in steps {
            model.apply(step);
            model.compare();
        }
        model.realm.finish();
    }
}
