//! Every operation that takes quota, refused for the want of any of it (I9).

use crate::common::realm::Realm;
use crate::common::{READ, WRITE};
use abi::limits::PAGE_SIZE;
use abi::ring::Geometry;
use abi::{Error, Handle, MapFlags, Mode, RegionFlags, Resources, Rights, SnapshotFlags};

const MANY: u64 = 1 << 40;

fn create(realm: &Realm, domain: usize, pages: u64) -> Result<Handle, Error> {
    let flags = RegionFlags::empty();
    let domain = &realm.domains[domain];
    realm
        .ipc
        .create_region(domain, pages * PAGE_SIZE, flags, None)
}

type Operation = (
    &'static str,
    fn(&Realm, Handle, abi::Token) -> Result<(), Error>,
);

/// What takes quota of domain 1, which has a region and a token for another.
const OPERATIONS: &[Operation] = &[
    ("create_region", |r, _, _| create(r, 1, 600).map(drop)),
    ("create_ring", |r, _, _| {
        let geometry = Geometry::slot(64, 128);
        r.ipc.create_ring(&r.domains[1], geometry).map(drop)
    }),
    ("map", |r, region, _| {
        let (va, flags) = (0x7e00_0000_0000, MapFlags::FIXED);
        r.ipc
            .map(&r.domains[1], region, va, 0, 0, WRITE, flags)
            .map(drop)
    }),
    ("derive", |r, region, _| r.derive(1, region, READ).map(drop)),
    ("share", |r, region, _| {
        r.grant(1, region, 0, Mode::Share, READ).map(drop)
    }),
    ("snapshot", |r, region, _| {
        let flags = SnapshotFlags::empty();
        r.ipc
            .snapshot_region(&r.domains[1], region, 0, 0, flags)
            .map(drop)
    }),
    ("grant a copy", |r, region, _| {
        r.grant(1, region, 0, Mode::CopyOnWrite, READ).map(drop)
    }),
    ("pin", |r, region, _| {
        r.ipc.pin_region(&r.domains[1], region)
    }),
    ("accept", |r, _, token| r.accept(1, token, 0).map(drop)),
];

/// The amount of one kind, and an amount of one kind alone.
fn of(kind: usize, resources: Resources) -> u64 {
    [resources.frames, resources.tables, resources.bytes][kind]
}

fn only(kind: usize, amount: u64) -> Resources {
    [Resources::frames, Resources::tables, Resources::bytes][kind](amount)
}

/// Whatever of the quota is missing, and however little: the operation is refused and changes
/// nothing (I9), and works as soon as there is enough.
#[test]
fn an_operation_without_quota_changes_nothing() {
    let start = || {
        let realm = Realm::with_quotas(&[
            Resources::NONE,
            Resources {
                frames: MANY,
                tables: MANY,
                bytes: MANY,
            },
        ]);
        let region = create(&realm, 1, 1).unwrap();
        let given = create(&realm, 0, 3).unwrap();
        let token = realm.grant(0, given, 1, Mode::Move, Rights::all()).unwrap();
        (realm, region, token)
    };
    for (name, operation) in OPERATIONS {
        let (realm, region, token) = start();
        let before = realm.used(1);
        operation(&realm, region, token).unwrap();
        let after = realm.used(1);
        realm.finish();
        assert!(after.bytes > before.bytes, "{name} takes nothing");
        for kind in 0..3 {
            let price = of(kind, after) - of(kind, before);
            // Every number of tables; of the others as many as tell the single charges apart.
            let step = [37, 1, 64][kind];
            let mut left = 0;
            while left < price {
                let (realm, region, token) = start();
                let account = realm.domains[1].account();
                let free = MANY - of(kind, account.used());
                let mut hog = account.charge(only(kind, free)).unwrap();
                let before = realm.counts();
                while left < price {
                    hog.release(only(kind, left));
                    let result = operation(&realm, region, token);
                    assert_eq!(result, Err(Error::Quota), "{name}: {left} of kind {kind}");
                    let free_tables = only(kind, left).tables;
                    let spaces = realm.used(1).tables + free_tables - before.2[1].1.tables;
                    left += step;
                    // Directories that were made for a mapping stay with its space.
                    if spaces > 0 {
                        assert!(*name == "map" && kind == 1 && spaces < left, "{name}");
                        break;
                    }
                    hog.extend(only(kind, free - of(kind, hog.amount())))
                        .unwrap();
                    assert_eq!(realm.counts(), before, "{name}: {left} of kind {kind}");
                }
                drop(hog);
                assert_eq!(operation(&realm, region, token), Ok(()), "{name} once more");
                realm.finish();
            }
        }
    }
}
