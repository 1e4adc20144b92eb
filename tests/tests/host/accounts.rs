//! Accounts by themselves: charged = held on every level, after every step (I11).

use std::sync::Arc;

use abi::limits::MAX_ACCOUNT_DEPTH;
use abi::{Error, Resources};
use mm::{Account, Charge};
use proptest::prelude::*;

fn amount(frames: u64, tables: u64, bytes: u64) -> Resources {
    Resources {
        frames,
        tables,
        bytes,
    }
}

fn kinds(resources: Resources) -> [u64; 3] {
    [resources.frames, resources.tables, resources.bytes]
}

/// What one step does. Numbers of accounts and charges are taken modulo those that there are.
#[derive(Clone, Debug)]
enum Step {
    Below(usize, Resources),
    Charge(usize, Resources),
    Drop(usize),
    Extend(usize, Resources),
    Release(usize, Resources),
    Move(usize, usize),
    /// A Move that is undone.
    Undone(usize, usize),
    /// One of a charge that changes before it is undone.
    Late(usize, usize, Resources, bool),
}

fn resources(max: u64) -> impl Strategy<Value = Resources> {
    (0..max, 0..max, 0..max).prop_map(|(frames, tables, bytes)| amount(frames, tables, bytes))
}

fn step() -> impl Strategy<Value = Step> {
    let which = || any::<u16>().prop_map(usize::from);
    prop_oneof![
        2 => (which(), resources(60)).prop_map(|(parent, quota)| Step::Below(parent, quota)),
        6 => (which(), resources(16)).prop_map(|(by, amount)| Step::Charge(by, amount)),
        3 => which().prop_map(Step::Drop),
        2 => (which(), resources(8)).prop_map(|(charge, more)| Step::Extend(charge, more)),
        2 => (which(), resources(8)).prop_map(|(charge, part)| Step::Release(charge, part)),
        4 => (which(), which()).prop_map(|(charge, to)| Step::Move(charge, to)),
        1 => (which(), which()).prop_map(|(charge, to)| Step::Undone(charge, to)),
        1 => (which(), which(), resources(8), any::<bool>())
            .prop_map(|(charge, to, by, grows)| Step::Late(charge, to, by, grows)),
    ]
}

/// Accounts as a list of parents and limits, and charges as a list of amounts.
#[derive(Default)]
struct Model {
    accounts: Vec<(Arc<Account>, Option<usize>, Resources)>,
    charges: Vec<(Charge, usize, Resources)>,
}

impl Model {
    fn way(&self, from: usize) -> Vec<usize> {
        std::iter::successors(Some(from), |at| self.accounts[*at].1).collect()
    }

    /// What an account has to be charged with: all charges to it and to those below it.
    fn used(&self, account: usize) -> [u64; 3] {
        let below = |by: &usize| self.way(*by).contains(&account);
        let charges = self.charges.iter().filter(|(_, by, _)| below(by));
        charges.fold([0; 3], |sum, (_, _, amount)| add(sum, kinds(*amount)))
    }

    fn covers(&self, account: usize, amount: Resources) -> bool {
        let after = add(self.used(account), kinds(amount));
        let limits = kinds(self.accounts[account].2);
        (0..3).all(|kind| {
            limits[kind] == 0 || kinds(amount)[kind] == 0 || after[kind] <= limits[kind]
        })
    }

    /// The answer to a charge of the accounts on the way up that `spared` is not on.
    fn answer(&self, by: usize, amount: Resources, spared: &[usize]) -> Result<(), Error> {
        let mut way = self.way(by).into_iter().filter(|at| !spared.contains(at));
        match way.all(|at| self.covers(at, amount)) {
            true => Ok(()),
            false => Err(Error::Quota),
        }
    }

    fn apply(&mut self, step: Step) {
        let accounts = self.accounts.len();
        let charges = self.charges.len().max(1);
        let charge = |at: usize| at % charges;
        match step {
            Step::Below(parent, quota) => {
                let parent = parent % accounts;
                let depth = self.way(parent).len() as u32;
                let made = Account::below(&self.accounts[parent].0, quota);
                assert_eq!(made.is_ok(), depth < MAX_ACCOUNT_DEPTH);
                if let Ok(account) = made {
                    assert_eq!(account.quota(), quota);
                    self.accounts.push((account, Some(parent), quota));
                }
            }
            Step::Charge(by, amount) => {
                let by = by % accounts;
                let expected = self.answer(by, amount, &[]);
                let made = self.accounts[by].0.charge(amount);
                assert_eq!(made.as_ref().err(), expected.as_ref().err());
                self.charges.extend(made.map(|made| (made, by, amount)));
            }
            _ if self.charges.is_empty() => {}
            Step::Drop(at) => drop(self.charges.swap_remove(charge(at))),
            Step::Extend(at, more) => {
                let by = self.charges[charge(at)].1;
                let expected = self.answer(by, more, &[]);
                let entry = &mut self.charges[charge(at)];
                assert_eq!(entry.0.extend(more), expected);
                if expected.is_ok() {
                    entry.2 = sum(entry.2, more);
                }
            }
            Step::Release(at, part) => {
                let entry = &mut self.charges[charge(at)];
                entry.0.release(part);
                entry.2 = difference(entry.2, part);
            }
            Step::Move(at, to) => drop(self.hand_over(charge(at), to % accounts)),
            Step::Undone(at, to) => self.undo(charge(at), to % accounts, |_, _| {}),
            Step::Late(at, to, by, grows) => {
                self.undo(charge(at), to % accounts, |model, at| {
                    let fits = model.answer(model.charges[at].1, by, &[]);
                    let entry = &mut model.charges[at];
                    if !grows {
                        entry.0.release(by);
                        entry.2 = difference(entry.2, by);
                    } else {
                        assert_eq!(entry.0.extend(by), fits);
                        if fits.is_ok() {
                            entry.2 = sum(entry.2, by);
                        }
                    }
                });
            }
        }
    }

    /// Who paid before, if the other covers it.
    fn hand_over(&mut self, at: usize, to: usize) -> Option<(Arc<Account>, usize)> {
        let (_, by, amount) = self.charges[at];
        let expected = self.answer(to, amount, &self.way(by));
        let payer = self.accounts[to].0.clone();
        let entry = &mut self.charges[at];
        let moved = entry.0.hand_over(&payer);
        assert_eq!(moved.as_ref().err(), expected.as_ref().err());
        let before = moved.ok()?;
        assert_eq!(before.is_none(), by == to);
        entry.1 = to;
        Some((before.unwrap_or(payer), by))
    }

    fn undo(&mut self, at: usize, to: usize, meanwhile: impl FnOnce(&mut Model, usize)) {
        let payer = self.accounts[to].0.clone();
        let Some((before, by)) = self.hand_over(at, to) else {
            return;
        };
        meanwhile(self, at);
        let entry = &mut self.charges[at];
        entry.0.hand_back(&payer, &before);
        entry.1 = by;
    }

    fn compare(&self) {
        for (at, (account, _, _)) in self.accounts.iter().enumerate() {
            assert_eq!(kinds(account.used()), self.used(at), "account {at}");
        }
        for (charge, by, amount) in &self.charges {
            assert_eq!(charge.amount(), *amount);
            assert!(Arc::ptr_eq(charge.account(), &self.accounts[*by].0));
        }
    }
}

fn add(a: [u64; 3], b: [u64; 3]) -> [u64; 3] {
    std::array::from_fn(|kind| a[kind] + b[kind])
}

fn sum(a: Resources, b: Resources) -> Resources {
    amount(a.frames + b.frames, a.tables + b.tables, a.bytes + b.bytes)
}

fn difference(a: Resources, b: Resources) -> Resources {
    amount(
        a.frames.saturating_sub(b.frames),
        a.tables.saturating_sub(b.tables),
        a.bytes.saturating_sub(b.bytes),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn charged_is_held_in_any_tree_after_any_steps(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut model = Model {
            accounts: vec![(Account::root(), None, Resources::NONE)],
            charges: Vec::new(),
        };
        for step in steps {
            model.apply(step);
            model.compare();
        }
        model.charges.clear();
        for (account, _, _) in &model.accounts {
            assert_eq!(account.used(), Resources::NONE);
        }
    }
}

#[test]
fn a_charge_that_fails_changes_nothing_at_any_level() {
    for refusing in 0..4 {
        for kind in 0..3 {
            let mut way = vec![Account::root()];
            for level in 1..=4 {
                let mut quota = [0; 3];
                if level == refusing + 1 {
                    quota[kind] = 9;
                }
                let [frames, tables, bytes] = quota;
                let parent = way.last().unwrap();
                way.push(Account::below(parent, amount(frames, tables, bytes)).unwrap());
            }
            let held = way[4].charge(amount(5, 5, 5)).unwrap();
            assert_eq!(way[4].charge(amount(5, 5, 5)).err(), Some(Error::Quota));
            for account in &way {
                assert_eq!(
                    account.used(),
                    amount(5, 5, 5),
                    "level {refusing}, kind {kind}"
                );
            }
            // What just fits, fits.
            let rest = way[4].charge(amount(4, 4, 4)).unwrap();
            drop((held, rest));
            assert!(way.iter().all(|a| a.used() == Resources::NONE));
        }
    }
}

#[test]
fn no_sum_overflows() {
    let root = Account::root();
    let account = Account::below(&root, Resources::NONE).unwrap();
    // More than there can be is never covered, and of much there is an end.
    assert_eq!(account.charge(Resources::ALL).err(), Some(Error::Quota));
    let much = amount(1 << 56, 1 << 56, 1 << 56);
    let all: Vec<Charge> = std::iter::from_fn(|| account.charge(much).ok()).collect();
    assert_eq!(all.len(), 127);
    let used = account.used();
    assert_eq!(
        account.charge(amount(0, 1 << 56, 0)).err(),
        Some(Error::Quota)
    );
    let other = Account::below(&root, Resources::NONE).unwrap();
    assert_eq!(
        other.charge(amount(1 << 56, 0, 0)).err(),
        Some(Error::Quota)
    );
    assert_eq!((root.used(), other.used()), (used, Resources::NONE));
    drop(all);
    assert_eq!(root.used(), Resources::NONE);
}

#[test]
fn what_moves_below_one_limit_is_not_charged_to_it_twice() {
    let root = Account::root();
    let family = Account::below(&root, amount(10, 0, 0)).unwrap();
    let children = [(); 2].map(|()| Account::below(&family, Resources::NONE).unwrap());
    let mut charge = children[0].charge(amount(10, 1, 1)).unwrap();
    drop(charge.hand_over(&children[1]).unwrap());
    assert_eq!(family.used(), amount(10, 1, 1));
    assert_eq!(children[0].used(), Resources::NONE);
    assert_eq!(children[1].used(), amount(10, 1, 1));
    // Up to an account above, and down again.
    for to in [&family, &children[0]] {
        drop(charge.hand_over(to).unwrap());
        assert_eq!(family.used(), amount(10, 1, 1));
    }
    assert_eq!(children[1].used(), Resources::NONE);
    drop(charge);
    assert_eq!(root.used(), Resources::NONE);
}

/// Each thread charges, moves and drops under a limit that all of them share, and that none of them
/// ever sees exceeded.
#[test]
fn threads_that_share_a_limit_never_have_more_than_it_and_return_all() {
    const LIMIT: u64 = 100;
    let root = Account::root();
    let family = Account::below(&root, amount(LIMIT, 0, LIMIT)).unwrap();
    let children: Vec<_> = (0..4)
        .map(|_| Account::below(&family, amount(0, 0, 60)).unwrap())
        .collect();
    let held = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for (me, mine) in children.iter().enumerate() {
            let (children, held) = (&children, &held);
            scope.spawn(move || {
                use std::sync::atomic::Ordering::SeqCst;
                let mut random = fastrand::Rng::with_seed(me as u64);
                let mut charges: Vec<Charge> = Vec::new();
                for _ in 0..20_000 {
                    let frames = random.u64(1..20);
                    match mine.charge(amount(frames, 1, frames / 2)) {
                        Ok(charge) => {
                            let now = held.fetch_add(frames, SeqCst) + frames;
                            assert!(now <= LIMIT, "{now} frames are held");
                            charges.push(charge);
                        }
                        Err(error) => assert_eq!(error, Error::Quota),
                    }
                    if let Some(charge) = charges.last_mut() {
                        let _ = charge.hand_over(random.choice(children).unwrap());
                    }
                    if random.bool() && !charges.is_empty() {
                        let charge = charges.swap_remove(random.usize(..charges.len()));
                        held.fetch_sub(charge.amount().frames, SeqCst);
                        drop(charge);
                    }
                }
                for charge in charges {
                    held.fetch_sub(charge.amount().frames, SeqCst);
                }
            });
        }
    });
    for account in children.iter().chain([&family, &root]) {
        assert_eq!(account.used(), Resources::NONE);
    }
}

#[test]
fn accounts_are_so_deep_and_no_deeper() {
    let mut account = Account::root();
    for _ in 1..MAX_ACCOUNT_DEPTH {
        account = Account::below(&account, Resources::NONE).unwrap();
    }
    let refused = Account::below(&account, Resources::NONE);
    assert_eq!(refused.err(), Some(Error::Limit));
}
