//! Registered handles as the tests use them.

use abi::submission::{Operation, Registered, Submission};
use abi::{Error, Handle};

use super::realm::Realm;
use super::submissions::{REGISTERED, Submissions, signal, wait};

pub fn register(realm: &Realm, handle: Handle) -> Result<Registered, Error> {
    realm.ipc.register(&realm.domains[0], handle, None)
}

pub fn unregister(realm: &Realm, id: Registered, deadline_ns: u64) -> Result<(), Error> {
    realm.ipc.unregister(&realm.domains[0], id, deadline_ns)
}

pub fn bits(realm: &Realm, notification: Handle) -> Result<u64, Error> {
    let domain = &realm.domains[0];
    realm.ipc.wait_notification(domain, notification, 0)
}

/// A signal by a registered handle.
pub fn by(id: Registered, bits: u64) -> Submission {
    signal(1, Handle::from_bits(id.bits()), bits).with(REGISTERED)
}

/// A wait by one.
pub fn wait_by(id: Registered, deadline_ns: u64) -> Submission {
    wait(2, Handle::from_bits(id.bits()), deadline_ns).with(REGISTERED)
}

/// Whether a ring knows a number, as what a signal by it does tells.
pub fn knows(realm: &Realm, ring: &mut Submissions, id: Registered) -> bool {
    match ring.run(realm, &[by(id, 1)])[..] {
        [(1, Ok(0))] => true,
        [(1, Err(Error::NotFound))] => false,
        ref other => panic!("{other:?}"),
    }
}

/// An entry that registers a handle in a slot, or in any.
pub fn register_entry(number: u64, handle: Handle, slot: u64) -> Submission {
    let arguments = [handle.bits(), slot, 0, 0, 0, 0];
    Submission::new(Operation::Register, number, arguments)
}

/// One that lets a handle go.
pub fn unregister_entry(number: u64, id: Registered, deadline_ns: u64) -> Submission {
    let arguments = [id.bits(), deadline_ns, 0, 0, 0, 0];
    Submission::new(Operation::Unregister, number, arguments)
}

/// Completions as they come.
pub type Done = Vec<(u64, Result<u64, Error>)>;

/// Enters as long as something is due, and takes what was completed, by its number.
pub fn settle(realm: &Realm, ring: &mut Submissions) -> Done {
    while ring.says_due(realm) {
        assert_eq!(ring.enter(realm, 0, 0, 0), Ok(0));
    }
    let mut done = ring.reap(realm);
    done.sort_unstable_by_key(|done| done.0);
    done
}
