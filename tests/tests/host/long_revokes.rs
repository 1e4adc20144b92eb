//! What ends many mappings of a region goes by steps, and others have the region between them.

use std::sync::{Arc, Mutex};

use crate::common::realm::Realm;
use crate::common::{READ, WRITE};
use abi::{Error, Handle, Mode, Rights};

const ALL: Rights = Rights::all();

/// Mappings that go, and of one step.
const MANY: usize = 150;
const STEP: usize = 64;

/// A region that domain 1 has mapped many times by way of one capability, and domain 2 a few times by another.
struct Scene {
    realm: Arc<Realm>,
    region: Handle,
    way: Handle,
    condemned: Handle,
    living: Handle,
    mapped: Vec<u64>,
    spared: Arc<Mutex<Vec<u64>>>,
}

impl Scene {
    fn new() -> Scene {
        let realm = Arc::new(Realm::new(3));
        let region = realm.region(0, 1);
        let way = realm.derive(0, region, ALL).unwrap();
        let condemned = realm.give(0, way, 1, Mode::Share);
        let living = realm.give(0, region, 2, Mode::Share);
        let (mut mapped, mut spared) = (Vec::new(), Vec::new());
        for turn in 0..MANY {
            mapped.push(realm.map(1, condemned, WRITE));
            if turn % 10 == 0 {
                spared.push(realm.map(2, living, WRITE));
            }
        }
        for va in &mapped {
            realm.store(1, 1, *va, 1).unwrap();
        }
        let spared = Arc::new(Mutex::new(spared));
        Scene {
            realm,
            region,
            way,
            condemned,
            living,
            mapped,
            spared,
        }
    }

    /// Does `deed`, and `meanwhile` at each of its moments; returns the most mappings of the region that went from one
    /// moment to the next.
    fn most_at_once(
        &self,
        mut meanwhile: impl FnMut() + 'static,
        deed: impl FnOnce(&Realm),
    ) -> usize {
        let region = self.realm.region_of(0, self.region);
        let counts = Arc::new(Mutex::new(Vec::new()));
        let (seen, looked_at) = (counts.clone(), region.clone());
        let moment = move || {
            meanwhile();
            seen.lock().unwrap().push(looked_at.mapping_count());
        };
        fake::before_locks(None, moment, || fake::on_cpu(0, || deed(&self.realm)));
        let mut counts = counts.lock().unwrap();
        counts.push(region.mapping_count());
        let drops = counts.windows(2).map(|two| two[0].saturating_sub(two[1]));
        drops.max().expect("a moment and the end")
    }

    /// Others map it, and unmap what they had mapped: the order of what is left to go is another each time.
    fn others_come_and_go(&self) -> impl FnMut() + 'static {
        let (realm, living, spared) = (self.realm.clone(), self.living, self.spared.clone());
        move || {
            fake::on_cpu(2, || {
                let mut spared = spared.lock().unwrap();
                spared.push(realm.map(2, living, WRITE));
                let oldest = spared.remove(0);
                realm.unmap(2, oldest).unwrap();
            })
        }
    }

    fn is_gone_for_one(&self) -> bool {
        self.mapped.iter().all(|va| !self.realm.reaches(1, *va))
    }

    fn finish(self) {
        let realm = Arc::into_inner(self.realm);
        realm.expect("nobody else has it").finish();
    }
}

#[test]
fn a_revoke_of_many_mappings_leaves_the_region_to_others_between_its_steps() {
    let scene = Scene::new();
    let revoke = |realm: &Realm| assert_eq!(realm.revoke(0, scene.way), Ok(1));
    let most = scene.most_at_once(scene.others_come_and_go(), revoke);
    assert!((1..=STEP).contains(&most), "{most} at once");
    assert!(scene.is_gone_for_one());
    for va in scene.spared.lock().unwrap().iter() {
        scene.realm.store(2, 2, *va, 2).unwrap();
    }
    scene.finish();
}

#[test]
fn nobody_maps_by_what_is_revoked_between_the_steps() {
    let scene = Scene::new();
    let (realm, condemned) = (scene.realm.clone(), scene.condemned);
    let answers = Arc::new(Mutex::new(Vec::new()));
    let told = answers.clone();
    let comes_back = move || {
        let mapped = realm.try_map(1, condemned, READ);
        told.lock()
            .unwrap()
            .push(mapped.map(|va| realm.unmap(1, va)));
    };
    scene.most_at_once(comes_back, |realm| {
        assert_eq!(realm.revoke(0, scene.way), Ok(1));
    });
    let answers = answers.lock().unwrap();
    let refused = answers.iter().skip_while(|answer| answer.is_ok());
    assert!(refused.clone().count() > MANY / STEP);
    assert!(
        refused.eq(answers
            .iter()
            .filter(|answer| **answer == Err(Error::Revoked)))
    );
    assert!(scene.is_gone_for_one());
    scene.finish();
}

#[test]
fn a_revoke_that_finds_another_under_way_returns_when_all_are_gone() {
    for moment in 0.. {
        let scene = Scene::new();
        let (realm, way) = (scene.realm.clone(), scene.way);
        let mapped = scene.mapped.clone();
        let second = Arc::new(Mutex::new(None));
        let told = second.clone();
        let mut turn = 0;
        let revokes_too = move || {
            if turn == moment {
                fake::on_cpu(2, || realm.revoke(0, way)).unwrap();
                *told.lock().unwrap() = Some(mapped.iter().all(|va| !realm.reaches(1, *va)));
            }
            turn += 1;
        };
        scene.most_at_once(revokes_too, |realm| {
            realm.revoke(0, scene.way).unwrap();
        });
        let Some(all_gone) = second.lock().unwrap().take() else {
            assert!(moment > MANY / STEP);
            break;
        };
        assert!(all_gone, "at moment {moment}");
        scene.finish();
    }
}

#[test]
fn rights_that_are_reduced_leave_many_mappings_by_steps() {
    for (rights, gone) in [(ALL - Rights::WRITE, false), (ALL - READ, true)] {
        let scene = Scene::new();
        let reduce = |realm: &Realm| realm.reduce(0, scene.way, rights).unwrap();
        let most = scene.most_at_once(scene.others_come_and_go(), reduce);
        assert!(most <= STEP, "{most} at once");
        assert_eq!((most > 0, scene.is_gone_for_one()), (gone, gone));
        for va in &scene.mapped {
            assert!(scene.realm.store(1, 1, *va, 2).is_err());
            assert_eq!(scene.realm.load(1, 1, *va).is_err(), gone);
        }
        scene.finish();
    }
}

#[test]
fn a_region_with_many_mappings_is_destroyed_by_steps() {
    let scene = Scene::new();
    let (realm, living) = (scene.realm.clone(), scene.living);
    let too_late = move || {
        let mapped = realm.try_map(2, living, READ);
        if let Ok(va) = mapped {
            realm.unmap(2, va).unwrap();
        }
    };
    let destroy = |realm: &Realm| {
        let (ipc, domain) = (&realm.ipc, &realm.domains[0]);
        ipc.destroy_region(domain, scene.region).unwrap();
    };
    let region = scene.realm.region_of(0, scene.region);
    assert_eq!(scene.most_at_once(too_late, destroy), STEP);
    assert_eq!(region.mapping_count(), 0);
    assert!(scene.is_gone_for_one());
    drop(region);
    scene.finish();
}

#[test]
fn a_region_with_many_mappings_is_moved_by_steps() {
    let scene = Scene::new();
    scene.realm.revoke(0, scene.region).unwrap();
    for _ in 0..MANY {
        scene.realm.map(0, scene.region, WRITE);
    }
    let mut token = None;
    let move_it = |realm: &Realm| {
        token = Some(realm.grant(0, scene.region, 1, Mode::Move, ALL).unwrap());
    };
    assert_eq!(scene.most_at_once(|| (), move_it), STEP);
    assert!(scene.realm.accept(1, token.unwrap(), 0).is_ok());
    scene.finish();
}
