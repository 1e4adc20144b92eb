//! Resources: who may make a device region, and that it then changes hands like memory.

use crate::common::devices::{CONFIG, PAGE, PAGES, device, leaf_entry};
use crate::common::realm::Realm;
use crate::common::{LEAF, READ, WRITE, page};
use abi::{CachePolicy, Error, Handle, MapFlags, Mode, Rights};
use ipc::Resource;
use mm::EntryFlags;

/// A realm whose first domain has the resource of the whole machine.
fn realm(domains: usize) -> (Realm, Handle) {
    let realm = Realm::of(domains, CONFIG);
    let all = Resource::new(0, 1 << 40).unwrap();
    let resource = realm.ipc.create_resource(&realm.domains[0], all).unwrap();
    (realm, resource)
}

fn region_device(
    realm: &Realm,
    resource: Handle,
    range: (u64, u64),
    policy: CachePolicy,
) -> Result<Handle, Error> {
    realm
        .ipc
        .create_device_region(&realm.domains[0], resource, range.0, range.1, policy)
}

#[test]
fn a_resource_gives_what_is_within_it_to_who_may_manage_it() {
    let (realm, all) = realm(2);
    let start = device(realm.machine());
    let domain = &realm.domains[0];
    let policy = CachePolicy::Uncached;
    let part = |handle, address, len| realm.ipc.part_of_resource(domain, handle, address, len);
    let mine = part(all, start + PAGE, 2 * PAGE).unwrap();
    let (_, info) = realm.ipc.resource(domain, mine, Rights::INSPECT).unwrap();
    assert_eq!(info.range(), start + PAGE..start + 3 * PAGE);
    for (address, len, error) in [
        (start, PAGE, Error::Range),
        (start, 2 * PAGE, Error::Range),
        (start + 2 * PAGE, 2 * PAGE, Error::Range),
        (start + 3 * PAGE, PAGE, Error::Range),
        (start + PAGE, 0_u64.wrapping_sub(PAGE), Error::Range),
        (start + PAGE, 0, Error::Invalid),
        (start + PAGE + 1, PAGE, Error::Align),
        (start + PAGE, PAGE + 1, Error::Align),
    ] {
        assert_eq!(part(mine, address, len), Err(error));
        let region = region_device(&realm, mine, (address, len), policy);
        assert_eq!(region, Err(error));
    }
    // A part is not memory because somebody called it a resource.
    let memory = part(all, start + PAGES * PAGE, PAGE).unwrap();
    let region = region_device(&realm, memory, (start + PAGES * PAGE, PAGE), policy);
    assert_eq!(region, Err(Error::Overlap));

    let looker = realm.derive(0, mine, !Rights::MANAGE).unwrap();
    let range = (start + PAGE, PAGE);
    assert_eq!(part(looker, range.0, range.1), Err(Error::Denied));
    let denied = region_device(&realm, looker, range, policy);
    assert_eq!(denied, Err(Error::Denied));
    let other = realm.region(0, 1);
    let wrong = region_device(&realm, other, range, policy);
    assert_eq!(wrong, Err(Error::WrongKind));
    assert_eq!(realm.try_map(0, mine, READ), Err(Error::WrongKind));

    let derived = realm.derive(0, mine, Rights::all()).unwrap();
    let region = region_device(&realm, derived, range, policy).unwrap();
    assert_eq!(realm.revoke(0, mine), Ok(2));
    let revoked = region_device(&realm, derived, range, policy);
    assert_eq!(revoked, Err(Error::Revoked));
    // The region is an object of its own.
    realm.map(0, region, WRITE);
    realm.finish();
}

#[test]
fn a_device_region_is_shared_moved_and_revoked_like_memory() {
    let (realm, resource) = realm(2);
    realm.run_also_on_3(0);
    let start = device(realm.machine());
    let policy = CachePolicy::WriteCombining;
    let range = (start, PAGES * PAGE);
    let mine = region_device(&realm, resource, range, policy).unwrap();
    let region = realm.region_of(0, mine);
    let here = realm.map(0, mine, WRITE);
    realm.store(3, 0, page(here, 600), 1).unwrap();

    let theirs = realm.give(0, mine, 1, Mode::Share);
    let there = realm.map(1, theirs, WRITE);
    assert_eq!(realm.load(1, 1, page(there, 600)), Ok(1));
    realm.store(1, 1, page(there, 601), 2).unwrap();
    assert_eq!(realm.load(0, 0, page(here, 601)), Ok(2));
    let entry = leaf_entry(realm.machine(), realm.domains[1].space(), there);
    assert_eq!(
        entry.flags() & EntryFlags::CACHE,
        EntryFlags::cached(policy)
    );
    realm.audit(std::slice::from_ref(&region));

    assert_eq!(realm.revoke(0, mine), Ok(1));
    assert!(!realm.reaches(1, page(there, 600)));
    assert_eq!(realm.load(0, 0, page(here, 601)), Ok(2));

    let theirs = realm.give(0, mine, 1, Mode::Move);
    for cpu in [0, 3] {
        assert!(!realm.reaches(cpu, page(here, 600)));
    }
    let there = realm.map(1, theirs, WRITE);
    assert_eq!(realm.load(1, 1, page(there, 601)), Ok(2));
    let flags = MapFlags::empty();
    let domain = &realm.domains[1];
    let part = realm
        .ipc
        .map(domain, theirs, 0, LEAF, 0, READ, flags)
        .unwrap();
    assert_eq!(realm.load(1, 1, page(part, 600 - 512)), Ok(1));
    realm.audit(std::slice::from_ref(&region));

    // It ends with the domain that has it, and another policy is to be had.
    realm.exit(1);
    region_device(&realm, resource, range, CachePolicy::Uncached).unwrap();
    drop(region);
    realm.finish();
}
