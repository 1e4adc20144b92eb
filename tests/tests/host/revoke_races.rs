//! Revokes beside everything else that can be done with what is below, on threads of their own: whoever was
//! first, nothing of it works when both have returned, and nothing is lost (I5, I11).

use std::sync::Barrier;

use crate::common::again;
use crate::common::messages::{End, Ends};
use crate::common::ports::notification;
use crate::common::realm::Realm;
use crate::common::{READ, WRITE, page};
use abi::{Error, FOREVER, Handle, HandleTransfer, Mode, Rights, SnapshotFlags, Token, Words};
use ipc::{Fit, Outgoing};

const ALL: Rights = Rights::all();
/// Times that each is tried, with other delays.
const ROUNDS: u64 = 60;
/// Turns that one of them waits at most.
const DELAY: u64 = 4_000;

/// Domain 1 has something below a region, a notification and a channel end of domain 0.
struct Scene {
    realm: Realm,
    /// What domain 0 revokes everything below of.
    tops: [Handle; 3],
    /// Below the region; mapped here.
    region: Handle,
    va: u64,
    /// Below the notification.
    bits: Handle,
    /// Below the channel end; domain 2 has the other.
    end: End,
    other: End,
    /// A channel of domains 1 and 2, where a share of the region lies.
    ends: Ends,
    /// Offered to domain 2: the region and the notification.
    tokens: [Token; 2],
}

/// What came of what was done: what may work no more.
#[derive(Default)]
struct Found {
    /// Of domains.
    handles: Vec<(usize, Handle)>,
    /// Of domains, which have the CPU of that number.
    mapped: Vec<(usize, u64)>,
    /// Of domain 1 for domain 2.
    tokens: Vec<Token>,
}

impl Scene {
    fn new() -> Scene {
        let realm = Realm::new(3);
        let (region, bits) = (realm.region(0, 3), notification(&realm, 0));
        let talk = Ends::between(&realm, 0, 2, 4);
        let tops = [region, bits, talk.here.handle];
        let given = tops.map(|top| realm.give(0, top, 1, Mode::Share));
        let va = realm.map(1, given[0], WRITE);
        realm.store(1, 1, va, 7).unwrap();
        let ends = Ends::between(&realm, 1, 2, 4);
        let shared = [HandleTransfer::new(given[0], Mode::Share, ALL)];
        ends.here.send(&realm, b"before", &shared).unwrap();
        let offer = |of| realm.grant(1, of, 2, Mode::Share, ALL).unwrap();
        Scene {
            tops,
            region: given[0],
            va,
            bits: given[1],
            end: End::new(1, given[2]),
            other: talk.there,
            ends,
            tokens: [offer(given[0]), offer(given[1])],
            realm,
        }
    }

    fn transfer(&self) -> [HandleTransfer; 1] {
        [HandleTransfer::new(self.region, Mode::Share, ALL)]
    }

    /// Nothing that was found works, and nothing that was there before.
    fn is_gone(&self, found: &Found) {
        let realm = &self.realm;
        let there = [(1, self.region), (1, self.bits), (1, self.end.handle)];
        for (domain, handle) in there.iter().chain(&found.handles) {
            let dead = realm.look_up(*domain, *handle);
            let expected = matches!(dead, Err(Error::Revoked | Error::BadHandle));
            assert!(expected, "a handle of {domain}: {dead:?}");
        }
        for (domain, va) in found.mapped.iter().chain(&[(1, self.va)]) {
            assert!(!realm.reaches(*domain, *va), "CPU {domain} reaches it");
        }
        for token in found.tokens.iter().chain(&self.tokens) {
            assert_eq!(realm.accept(2, *token, 1), Err(Error::NotFound));
        }
        for top in self.tops {
            assert_eq!(realm.info(0, top).descendants, 0);
        }
    }
}

type Deed = fn(&Scene, &mut Found) -> Result<(), Error>;

/// Does it again and again, until it is refused.
fn until_refused(mut deed: impl FnMut() -> Result<(), Error>) -> Result<(), Error> {
    loop {
        deed()?;
    }
}

/// What domains 1 and 2 do meanwhile; it is refused in the end, or over.
const DEEDS: &[(&str, Deed)] = &[
    ("derive", |s, found| {
        until_refused(|| {
            let made = s.realm.derive(1, s.region, ALL)?;
            found.handles.push((1, made));
            let below = s.realm.derive(1, made, READ)?;
            found.handles.push((1, below));
            Ok(())
        })
    }),
    ("grant", |s, found| {
        until_refused(|| {
            let token = s.realm.grant(1, s.region, 2, Mode::Share, ALL)?;
            found.tokens.push(token);
            Ok(())
        })
    }),
    ("accept", |s, found| {
        let made = s.realm.accept(2, s.tokens[0], 1)?;
        found.handles.push((2, made));
        let va = s.realm.try_map(2, made, WRITE)?;
        found.mapped.push((2, va));
        s.realm.store(2, 2, va, 1)
    }),
    ("map", |s, found| {
        until_refused(|| {
            let va = s.realm.try_map(1, s.region, WRITE)?;
            found.mapped.push((1, va));
            s.realm.store(1, 1, va, 1)
        })
    }),
    ("fault", |s, _| {
        let mut turn = 0;
        until_refused(|| {
            turn += 1;
            s.realm.store(1, 1, page(s.va, turn % 3), turn)
        })
    }),
    ("move", |s, found| {
        let token = s.realm.grant(1, s.bits, 2, Mode::Move, ALL)?;
        found.tokens.push(token);
        let made = s.realm.accept(2, token, 1)?;
        found.handles.push((2, made));
        s.realm.ipc.signal(&s.realm.domains[2], made, 1)
    }),
    ("copy", |s, _| {
        until_refused(|| {
            let token = s.realm.grant(1, s.region, 2, Mode::CopyOnWrite, ALL)?;
            let copy = s.realm.accept(2, token, 1)?;
            s.realm.drop_handle(2, copy)
        })
    }),
    ("snapshot", |s, _| {
        until_refused(|| {
            let (domain, flags) = (&s.realm.domains[1], SnapshotFlags::empty());
            let ipc = &s.realm.ipc;
            let copy = ipc.snapshot_region(domain, s.region, 0, 0, flags)?;
            s.realm.drop_handle(1, copy)
        })
    }),
    ("drop", |s, _| s.realm.drop_handle(1, s.region)),
    ("exit", |s, _| {
        s.realm.exit(1);
        Ok(())
    }),
    ("send", |s, found| {
        until_refused(|| {
            s.ends.here.send(&s.realm, b"shared", &s.transfer())?;
            let got = s.ends.there.receive(&s.realm)?;
            found.handles.extend(got.handles.iter().map(|it| (2, *it)));
            Ok(())
        })
    }),
    ("receive", |s, found| {
        let got = s.ends.there.receive(&s.realm)?;
        found.handles.extend(got.handles.iter().map(|it| (2, *it)));
        let va = s.realm.try_map(2, got.handles[0], WRITE)?;
        found.mapped.push((2, va));
        s.realm.store(2, 2, va, 1)
    }),
    ("call", |s, _| {
        let space = Fit::Message {
            bytes: 256,
            handles: 4,
        };
        let (domain, end) = (&s.realm.domains[1], s.end.handle);
        let message = Outgoing {
            bytes: b"for ever",
            transfers: &s.transfer(),
        };
        // Nobody receives it.
        let called = s
            .realm
            .ipc
            .call(domain, end, message, space, FOREVER, |_| Ok(()));
        called.map(drop)
    }),
    ("call and be answered", |s, _| {
        std::thread::scope(|scope| {
            let server = scope.spawn(|| {
                let (domain, end) = (&s.realm.domains[2], s.other.handle);
                let mut answer = Words::default();
                let mut served = 0;
                while let Ok(next) = again::serve_words(&s.realm.ipc, domain, end, &answer) {
                    (answer.reply, answer.words) = (next.reply, [1; 4]);
                    served += 1;
                    if next.words == [0; 4] {
                        break;
                    }
                }
                s.realm.ipc.end_task(&fake::FakeTask::current());
                served
            });
            let domain = &s.realm.domains[1];
            let refused = until_refused(|| {
                let answer = again::call_words(&s.realm.ipc, domain, s.end.handle, [2; 4])?;
                assert_eq!(answer, [1; 4]);
                Ok(())
            });
            s.realm.ipc.end_task(&fake::FakeTask::current());
            // Domain 0 still has its end.
            let top = End::new(0, s.tops[2]);
            let last = top.send_until(&s.realm, &[0; 32], &[], FOREVER);
            assert_eq!(last, Ok(()));
            server.join().unwrap();
            refused
        })
    }),
];

/// Waits so many turns.
fn delay(turns: u64) {
    for _ in 0..turns {
        std::hint::spin_loop();
    }
}

#[test]
fn whatever_is_done_beside_a_revoke_nothing_below_works_after_it() {
    for (name, deed) in DEEDS {
        let mut refused = 0;
        for round in 0..ROUNDS {
            let scene = Scene::new();
            let barrier = Barrier::new(2);
            let mut found = Found::default();
            let random = round.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
            let (early, late) = (random % DELAY, random / DELAY % DELAY);
            std::thread::scope(|scope| {
                let (scene, barrier, found) = (&scene, &barrier, &mut found);
                let doer = scope.spawn(move || {
                    fake::on_cpu(1, || {
                        barrier.wait();
                        delay(early);
                        let done = deed(scene, found);
                        scene.realm.ipc.end_task(&fake::FakeTask::current());
                        done
                    })
                });
                barrier.wait();
                delay(late);
                for top in scene.tops {
                    let revoked = scene.realm.revoke(0, top);
                    assert!(revoked.is_ok(), "{name}: {revoked:?}");
                }
                let done = doer.join().unwrap();
                refused += u64::from(done.is_err());
            });
            scene.is_gone(&found);
            scene.realm.finish();
        }
        println!("{name}: refused in {refused} of {ROUNDS} rounds");
    }
}
