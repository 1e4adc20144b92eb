//! Ports at which tests wait, and notifications that they are told of.

use abi::{BindFlags, Error, Events, Handle, PortPacket};

use super::realm::Realm;

pub const SIGNALED: Events = Events::SIGNALED;
pub const LEVEL: BindFlags = BindFlags::empty();
pub const EDGE: BindFlags = BindFlags::EDGE;
pub const ONCE: BindFlags = BindFlags::ONCE;

pub fn port(realm: &Realm, domain: usize) -> Handle {
    realm.ipc.create_port(&realm.domains[domain]).unwrap()
}

pub fn notification(realm: &Realm, domain: usize) -> Handle {
    realm
        .ipc
        .create_notification(&realm.domains[domain])
        .unwrap()
}

pub fn bind(
    realm: &Realm,
    domain: usize,
    port: Handle,
    object: Handle,
    flags: BindFlags,
    key: u64,
) -> Result<(), Error> {
    let domain = &realm.domains[domain];
    realm
        .ipc
        .bind_port(domain, port, object, SIGNALED, flags, key)
}

pub fn signal(realm: &Realm, domain: usize, handle: Handle) {
    realm.ipc.signal(&realm.domains[domain], handle, 1).unwrap();
}

pub fn clear(realm: &Realm, domain: usize, handle: Handle) {
    let taken = realm
        .ipc
        .wait_notification(&realm.domains[domain], handle, 0);
    assert!(taken.is_ok());
}

pub fn take(
    realm: &Realm,
    domain: usize,
    port: Handle,
    len: usize,
    deadline: u64,
) -> Result<Vec<PortPacket>, Error> {
    let mut taken = Vec::new();
    let domain = &realm.domains[domain];
    let count = realm
        .ipc
        .wait_port(domain, port, len, deadline, |at, packets| {
            assert_eq!(at, taken.len());
            taken.extend_from_slice(packets);
            Ok(())
        })?;
    assert_eq!(count, taken.len());
    Ok(taken)
}

pub fn poll(realm: &Realm, port: Handle) -> Result<Vec<PortPacket>, Error> {
    take(realm, 0, port, 64, 0)
}

pub fn packet(key: u64, count: u32) -> PortPacket {
    PortPacket {
        key,
        value: 0,
        events: SIGNALED.bits(),
        count,
    }
}

pub const NOTHING: Result<Vec<PortPacket>, Error> = Err(Error::WouldBlock);
