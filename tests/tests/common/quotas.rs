//! Amounts, and what is charged for them.

use std::sync::Arc;

use abi::limits::PAGE_SIZE;
use abi::{Error, Handle, RegionFlags, Resources};

use super::realm::{Domain, Realm};

/// So much of each resource.
pub fn limits(frames: u64, tables: u64, bytes: u64) -> Resources {
    Resources {
        frames,
        tables,
        bytes,
    }
}

/// What is left of one amount without another.
pub fn minus(a: Resources, b: Resources) -> Resources {
    limits(a.frames - b.frames, a.tables - b.tables, a.bytes - b.bytes)
}

/// A region of so many pages, charged to a domain.
pub fn create(realm: &Realm, domain: usize, pages: u64) -> Result<Handle, Error> {
    let flags = RegionFlags::empty();
    let domain = &realm.domains[domain];
    realm
        .ipc
        .create_region(domain, pages * PAGE_SIZE, flags, None)
}

/// Ends a domain that is not one of the realm's.
pub fn end(realm: &Realm, domain: Arc<Domain>) {
    realm.ipc.clear_domain(&domain);
    realm.memory().destroy_space(domain.space());
}
