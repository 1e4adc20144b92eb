//! Interrupts of devices: bits that are set when a line is written to, as long as somebody is to learn
//! of it.

use crate::common::realm::Realm;
use abi::{Error, Handle, Resources, Rights, cost};
use ipc::Resource;

/// Lines of the imitated machine.
const LINES: usize = 4;

struct Driver {
    realm: Realm,
    resource: Handle,
    notification: Handle,
}

impl Driver {
    fn new() -> Driver {
        Driver::of(Realm::new(1))
    }

    fn of(realm: Realm) -> Driver {
        let domain = &realm.domains[0];
        let registers = Resource::new(0x1_0000_0000, 4096).unwrap();
        let resource = realm.ipc.create_resource(domain, registers).unwrap();
        let notification = realm.ipc.create_notification(domain).unwrap();
        Driver {
            realm,
            resource,
            notification,
        }
    }

    /// An interrupt, and the line that its device writes to.
    fn create(&self, bits: u64) -> Result<(Handle, u32), Error> {
        let domain = &self.realm.domains[0];
        let ipc = &self.realm.ipc;
        let (handle, message) =
            ipc.create_interrupt(domain, self.resource, self.notification, bits)?;
        Ok((handle, message.data))
    }

    /// A device writes to a line. False: it is nobody's.
    fn write(&self, line: u32) -> bool {
        let interrupt = self.realm.machine().written_to(line);
        if let Some(interrupt) = &interrupt {
            self.realm.ipc.interrupted(interrupt);
        }
        interrupt.is_some()
    }

    fn bits(&self) -> u64 {
        let domain = &self.realm.domains[0];
        let ipc = &self.realm.ipc;
        match ipc.wait_notification(domain, self.notification, 0) {
            Err(Error::WouldBlock) => 0,
            other => other.unwrap(),
        }
    }
}

#[test]
fn a_device_sets_the_bits_of_its_interrupt_and_of_no_other() {
    let driver = Driver::new();
    let ((_, first), (_, second)) = (driver.create(1).unwrap(), driver.create(2).unwrap());
    assert_ne!(first, second);
    assert!(driver.write(first));
    assert_eq!(driver.bits(), 1);
    assert!(driver.write(second) && driver.write(first));
    assert_eq!(driver.bits(), 3);
    driver.realm.finish();
}

#[test]
fn a_storm_of_interrupts_sets_bits_and_nothing_else() {
    let driver = Driver::new();
    let (handle, line) = driver.create(4).unwrap();
    let before = driver.realm.counts();
    assert!((0..10_000).all(|_| driver.write(line)));
    assert_eq!(driver.realm.counts(), before);
    assert_eq!((driver.bits(), driver.bits()), (4, 0));
    let domain = &driver.realm.domains[0];
    let info = driver.realm.ipc.object_info(domain, handle).unwrap();
    assert_eq!(info.messages, 10_000);
    driver.realm.finish();
}

#[test]
fn an_interrupt_that_is_dropped_gives_its_line_back_and_sets_nothing() {
    let driver = Driver::new();
    let (handle, line) = driver.create(1).unwrap();
    let under_way = driver.realm.machine().written_to(line).unwrap();
    driver.realm.drop_handle(0, handle).unwrap();
    assert!(!driver.write(line));
    // A CPU that had begun to tell finds that it is over.
    driver.realm.ipc.interrupted(&under_way);
    drop(under_way);
    assert_eq!(driver.bits(), 0);
    driver.realm.finish();
}

#[test]
fn an_interrupt_ends_with_the_capability_that_it_was_made_with() {
    let mut driver = Driver::new();
    let own = driver.notification;
    driver.notification = driver.realm.derive(0, own, Rights::SIGNAL).unwrap();
    let (_, line) = driver.create(1).unwrap();
    driver.notification = own;
    assert!(driver.write(line));
    assert_eq!(driver.bits(), 1);
    driver.realm.revoke(0, own).unwrap();
    assert!(driver.write(line));
    assert_eq!(driver.bits(), 0);
    driver.realm.finish();
}

#[test]
fn lines_end_at_the_limit_and_come_back() {
    let driver = Driver::new();
    let before = driver.realm.counts();
    let made: Vec<_> = (0..LINES).map(|_| driver.create(1).unwrap()).collect();
    assert_eq!(driver.create(1), Err(Error::Limit));
    for (handle, _) in made {
        driver.realm.drop_handle(0, handle).unwrap();
    }
    assert_eq!(driver.realm.counts(), before);
    // Not before their devices are sure to write no more.
    assert_eq!(driver.create(1), Err(Error::Limit));
    driver.realm.machine().rest_lines();
    assert!((0..LINES).all(|_| driver.create(1).is_ok()));
    driver.realm.finish();
}

#[test]
fn what_is_refused_takes_no_line() {
    let realm = Realm::with_quotas(&[Resources::bytes(40 * cost::OBJECT)]);
    let mut driver = Driver::of(realm);
    let (resource, notification) = (driver.resource, driver.notification);
    let only = |handle, right| driver.realm.derive(0, handle, right).unwrap();
    let inspected = only(resource, Rights::INSPECT);
    let waited = only(notification, Rights::WAIT);
    for (resource, notification, bits, error) in [
        (inspected, notification, 1, Error::Denied),
        (notification, notification, 1, Error::WrongKind),
        (resource, resource, 1, Error::WrongKind),
        (resource, waited, 1, Error::Denied),
        (resource, notification, 0, Error::Invalid),
        (resource, notification, 1 << 63, Error::Invalid),
    ] {
        (driver.resource, driver.notification) = (resource, notification);
        assert_eq!(driver.create(bits), Err(error));
    }
    (driver.resource, driver.notification) = (resource, notification);
    // Where the account covers no object more, each that is refused gives its line back at once.
    let domain = &driver.realm.domains[0];
    let more = || driver.realm.ipc.create_notification(domain).ok();
    let made: Vec<Handle> = std::iter::from_fn(more).collect();
    assert!(made.len() > LINES);
    assert!((0..2 * LINES).all(|_| driver.create(1) == Err(Error::Quota)));
    for handle in made {
        driver.realm.drop_handle(0, handle).unwrap();
    }
    assert!((0..LINES).all(|_| driver.create(1).is_ok()));
    driver.realm.finish();
}
