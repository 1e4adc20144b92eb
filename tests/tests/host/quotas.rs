//! Quotas: who pays for what, what it costs, and how a domain goes on that has used up its own.

use std::sync::Arc;

use crate::common::quotas::{create, end, limits, minus};
use crate::common::realm::{Domain, Realm};
use crate::common::{BASE, READ, WRITE};
use abi::limits::PAGE_SIZE;
use abi::ring::Geometry;
use abi::{Error, Mode, RegionFlags, Resources, Rights, cost};
use fake::Config;
use mm::{Account, PageAttributes};

#[test]
fn everything_costs_what_is_published() {
    let realm = Realm::new(2);
    let (ipc, domain) = (&realm.ipc, &realm.domains[0]);
    let mut before = realm.used(0);
    let mut costs = |what: &str, expected: Resources| {
        let now = realm.used(0);
        assert_eq!(minus(now, before), expected, "{what}");
        before = now;
    };
    let first = cost::OBJECT + cost::CAPABILITY;
    let region = create(&realm, 0, 513).unwrap();
    let bytes = cost::REGION + 2 * cost::LEAF_TABLE + first;
    costs("a region of two leaf tables", limits(513, 2, bytes));
    let derived = realm.derive(0, region, READ | Rights::MAP).unwrap();
    costs("a derived capability", limits(0, 0, cost::CAPABILITY));
    let va = realm.map(0, region, WRITE);
    costs("a first mapping", limits(0, 2, cost::MAPPING));
    realm.store(0, 0, va, 1).unwrap();
    costs("touching a page", Resources::NONE);
    let again = realm.map(0, derived, READ);
    costs("a second mapping", limits(0, 0, cost::MAPPING));
    let token = realm.grant(0, region, 1, Mode::Share, READ).unwrap();
    costs("a pending share", limits(0, 0, cost::CAPABILITY));
    let geometry = Geometry::slot(64, 64);
    let ring = ipc.create_ring(domain, geometry).unwrap();
    let pages = 3 + geometry.data_pages();
    let bytes =
        cost::REGION + cost::RING + 2 * cost::LEAF_TABLE + pages * cost::RING_PAGE + 2 * first;
    costs("a ring", limits(pages, 2, bytes));
    let moved = (realm.used(1), realm.accept(1, token, 0).unwrap());
    assert_eq!(
        minus(realm.used(1), moved.0),
        limits(0, 0, cost::CAPABILITY)
    );
    realm.drop_handle(1, moved.1).unwrap();
    realm.drop_handle(0, ring.0).unwrap();
    realm.drop_handle(0, ring.1).unwrap();
    realm.unmap(0, again).unwrap();
    realm.unmap(0, va).unwrap();
    realm.drop_handle(0, derived).unwrap();
    realm.drop_handle(0, region).unwrap();
    let now = realm.used(0);
    // What the directories hang on stays with the space.
    let handles = 2 * first;
    assert_eq!(now, limits(0, 3, cost::SPACE + handles));
    realm.finish();
}

#[test]
fn thousands_of_tiny_regions_end_with_the_quota_and_come_back() {
    let realm = Realm::with_quotas(&[limits(0, 0, 4 << 20), Resources::NONE]);
    let mut before = realm.used(0);
    let counts = realm.counts();
    let mut made = Vec::new();
    for turn in 0..4 {
        loop {
            match create(&realm, 0, 1) {
                Ok(handle) => made.push(handle),
                Err(error) => break assert_eq!(error, Error::Quota),
            }
        }
        let each = cost::REGION + cost::LEAF_TABLE + cost::OBJECT + cost::CAPABILITY;
        let room = (4 << 20) - before.bytes;
        // The places of the handles stay; the first turn makes them.
        let places = if turn == 0 { cost::HANDLES * 16 } else { 0 };
        assert!(made.len() as u64 <= room / each, "turn {turn}");
        assert!(made.len() as u64 >= (room - places) / each, "turn {turn}");
        // It can go on with what it has, and others with theirs.
        let va = realm.map(
            1,
            create(&realm, 1, 1).map(|h| (h, realm.used(1)).0).unwrap(),
            WRITE,
        );
        realm.store(1, 1, va, turn).unwrap();
        let handle = made.pop().unwrap();
        realm.drop_handle(0, handle).unwrap();
        made.push(create(&realm, 0, 1).unwrap());
        for handle in made.drain(..) {
            realm.drop_handle(0, handle).unwrap();
        }
        if turn == 0 {
            let kept = realm.used(0).bytes - before.bytes;
            assert_eq!(kept % cost::HANDLES, 0);
            before.bytes += kept;
        }
        assert_eq!(realm.used(0), before);
    }
    assert_eq!(realm.counts().2[0].0, counts.2[0].0);
    realm.finish();
}

#[test]
fn want_of_quota_and_want_of_memory_are_told_apart() {
    let config = Config {
        frames: 300,
        ..Config::default()
    };
    let realm = Realm::of(1, config);
    assert_eq!(create(&realm, 0, 400), Err(Error::NoMemory));
    let account = Account::below(realm.memory().account(), limits(100, 0, 0)).unwrap();
    let limited = realm.ipc.create_domain(&account, BASE).unwrap();
    let flags = RegionFlags::empty();
    for (pages, error) in [(101, Error::Quota), (400, Error::Quota)] {
        let made = realm
            .ipc
            .create_region(&limited, pages * PAGE_SIZE, flags, None);
        assert_eq!(made, Err(error));
    }
    // The account covers it, and the machine has it no more.
    create(&realm, 0, 250).unwrap();
    let made = realm
        .ipc
        .create_region(&limited, 90 * PAGE_SIZE, flags, None);
    assert_eq!(made, Err(Error::NoMemory));
    assert_eq!(account.used(), limits(0, 1, cost::SPACE));
    end(&realm, limited);
    assert_eq!(account.used(), Resources::NONE);
    realm.finish();
}

#[test]
fn pins_are_paid_for_and_come_back_with_their_capability() {
    let realm = Realm::new(1);
    let region = create(&realm, 0, 1).unwrap();
    let derived = realm.derive(0, region, Rights::all()).unwrap();
    let before = realm.used(0);
    let (ipc, domain) = (&realm.ipc, &realm.domains[0]);
    for _ in 0..3 {
        ipc.pin_region(domain, derived).unwrap();
    }
    assert_eq!(minus(realm.used(0), before), limits(0, 0, 3 * cost::PIN));
    ipc.unpin_region(domain, derived).unwrap();
    assert_eq!(minus(realm.used(0), before), limits(0, 0, 2 * cost::PIN));
    realm.revoke(0, region).unwrap();
    realm.drop_handle(0, derived).unwrap();
    assert_eq!(minus(before, realm.used(0)), limits(0, 0, cost::CAPABILITY));
    assert_eq!(ipc.unpin_region(domain, region), Err(Error::NotFound));
    realm.finish();
}

#[test]
fn pins_that_a_reduce_takes_back_are_paid_back_once() {
    for moment in 0.. {
        let realm = Realm::new(1);
        let region = create(&realm, 0, 1).unwrap();
        let (ipc, domain) = (realm.ipc.clone(), realm.domains[0].clone());
        ipc.commit_region(&domain, region, 0, 0).unwrap();
        let before = realm.used(0);
        ipc.pin_region(&domain, region).unwrap();
        let (inside, owner, mut turn) = (ipc.clone(), domain.clone(), 0);
        let object = realm.region_of(0, region);
        let meanwhile = move || {
            if turn == moment {
                inside.reduce(&owner, region, !Rights::MAP).unwrap();
            } else if turn > moment {
                // Not even for as long as the call goes on.
                assert_eq!(object.pin_count(), 0, "moment {moment}");
            }
            turn += 1;
        };
        let pinned = fake::before_locks(None, meanwhile, || ipc.pin_region(&domain, region));
        let over = realm.look_up(0, region).unwrap().contains(Rights::MAP);
        let pins = match over {
            true => 2,
            false => 0,
        };
        if pinned.is_err() {
            assert_eq!(pinned, Err(Error::Denied));
        }
        assert_eq!(realm.region_of(0, region).pin_count(), pins);
        let charged = limits(0, 0, u64::from(pins) * cost::PIN);
        assert_eq!(minus(realm.used(0), before), charged, "moment {moment}");
        drop((ipc, domain));
        realm.finish();
        if over {
            break;
        }
    }
}

#[test]
fn a_limit_holds_for_all_that_is_below_it() {
    let realm = Realm::new(1);
    let family = Account::below(realm.memory().account(), limits(20, 0, 0)).unwrap();
    let make = |quota| {
        let account = Account::below(&family, quota).unwrap();
        realm.ipc.create_domain(&account, BASE).unwrap()
    };
    let children = [make(limits(15, 0, 0)), make(limits(1 << 40, 0, 0))];
    let create = |domain: &Arc<Domain>, pages: u64| {
        let flags = RegionFlags::COMMIT;
        realm
            .ipc
            .create_region(domain, pages * PAGE_SIZE, flags, None)
    };
    assert_eq!(create(&children[0], 16), Err(Error::Quota));
    create(&children[0], 12).unwrap();
    assert_eq!(create(&children[1], 9), Err(Error::Quota));
    create(&children[1], 8).unwrap();
    assert_eq!(create(&children[0], 1), Err(Error::Quota));
    assert_eq!(family.used().frames, 20);
    let [first, second] = children;
    end(&realm, first);
    assert!(create(&second, 12).is_ok());
    end(&realm, second);
    assert_eq!(family.used(), Resources::NONE);
    realm.finish();
}

#[test]
fn an_image_and_its_instances_each_pay_for_all_of_their_pages() {
    let realm = Realm::new(1);
    let memory = realm.memory();
    let payers = [(); 2].map(|()| Account::below(memory.account(), Resources::NONE).unwrap());
    let image = memory.create_image(&payers[0], 3 * PAGE_SIZE).unwrap();
    for (page, write) in [(0, false), (1, true)] {
        let attributes = PageAttributes {
            write,
            execute: !write,
        };
        memory.define_page(&image, page, attributes).unwrap();
        memory.define_page(&image, page, attributes).unwrap();
        memory
            .load_image(&image, page * PAGE_SIZE, b"text")
            .unwrap();
    }
    memory.finish_image(&image);
    let instance = memory.instantiate(&payers[1], &image).unwrap();
    realm.audit(&[image.clone(), instance.clone()]);
    // The text lives on with the instance.
    memory.destroy_region(&image);
    assert_eq!(payers.each_ref().map(|p| p.used().frames), [0, 2]);
    assert_eq!(fake::counts(memory).pages, 2);
    memory.destroy_region(&instance);
    drop((image, instance));
    assert!(payers.iter().all(|payer| payer.used() == Resources::NONE));
    let short = Account::below(memory.account(), limits(1, 0, 0)).unwrap();
    let image = memory.create_image(&short, 3 * PAGE_SIZE).unwrap();
    let attributes = PageAttributes {
        write: true,
        execute: false,
    };
    memory.define_page(&image, 2, attributes).unwrap();
    let refused = memory.define_page(&image, 1, attributes);
    assert_eq!(refused, Err(Error::Quota));
    memory.finish_image(&image);
    let held = short.charge(limits(0, 1, 0));
    assert!(held.is_ok());
    assert_eq!(memory.instantiate(&short, &image).err(), Some(Error::Quota));
    assert_eq!(short.used().tables, 2);
    drop(held);
    memory.destroy_region(&image);
    drop(image);
    realm.finish();
}
