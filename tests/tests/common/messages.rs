//! What the tests of channels have in common: ends, and what came out of them.

use abi::{ChannelInfo, Error, Handle, HandleTransfer, Resources, Rights, Syscall};
use fake::answered;
use ipc::Outgoing;
use mm::Charge;

use super::realm::Realm;

/// A channel end in a domain.
#[derive(Clone, Copy, Debug)]
pub struct End {
    pub domain: usize,
    pub handle: Handle,
}

/// Both ends of a channel.
pub struct Ends {
    pub here: End,
    pub there: End,
}

/// What was received.
#[derive(Debug, PartialEq, Eq)]
pub struct Got {
    pub bytes: Vec<u8>,
    pub handles: Vec<Handle>,
    pub reply: Handle,
    pub badge: u64,
}

impl Ends {
    /// A channel of which one domain has both ends.
    pub fn of(realm: &Realm, domain: usize, capacity: u32) -> Ends {
        let ends = realm.ipc.create_channel(&realm.domains[domain], capacity);
        let ends = ends.unwrap();
        Ends {
            here: End::new(domain, ends.first),
            there: End::new(domain, ends.second),
        }
    }

    /// A channel between two domains, paid for by the first.
    pub fn between(realm: &Realm, here: usize, there: usize, capacity: u32) -> Ends {
        let ends = Ends::of(realm, here, capacity);
        let moved = realm.give(here, ends.there.handle, there, abi::Mode::Move);
        Ends {
            here: ends.here,
            there: End::new(there, moved),
        }
    }

    pub fn drop(&self, realm: &Realm) {
        self.here.drop(realm);
        self.there.drop(realm);
    }
}

impl End {
    pub fn new(domain: usize, handle: Handle) -> End {
        End { domain, handle }
    }

    pub fn drop(&self, realm: &Realm) {
        realm.drop_handle(self.domain, self.handle).unwrap();
    }

    pub fn info(&self, realm: &Realm) -> ChannelInfo {
        let domain = &realm.domains[self.domain];
        realm.ipc.channel_info(domain, self.handle).unwrap()
    }

    pub fn send(
        &self,
        realm: &Realm,
        bytes: &[u8],
        transfers: &[HandleTransfer],
    ) -> Result<(), Error> {
        self.send_until(realm, bytes, transfers, 0)
    }

    pub fn send_until(
        &self,
        realm: &Realm,
        bytes: &[u8],
        transfers: &[HandleTransfer],
        deadline_ns: u64,
    ) -> Result<(), Error> {
        let message = Outgoing { bytes, transfers };
        let domain = &realm.domains[self.domain];
        let answer = realm.ipc.send(domain, self.handle, message, deadline_ns);
        answered(Syscall::ChannelSend, answer)
    }

    pub fn receive(&self, realm: &Realm) -> Result<Got, Error> {
        self.receive_until(realm, 0)
    }

    pub fn receive_until(&self, realm: &Realm, deadline_ns: u64) -> Result<Got, Error> {
        let mut bytes = Vec::new();
        let domain = &realm.domains[self.domain];
        let received = realm
            .ipc
            .receive(domain, self.handle, deadline_ns, |preview| {
                bytes = preview.bytes.to_vec();
                Ok(())
            });
        let received = answered(Syscall::ChannelReceive, received)?;
        assert_eq!(received.len, bytes.len());
        Ok(Got {
            bytes,
            handles: received.handles[..received.handles_len].to_vec(),
            reply: received.reply,
            badge: received.badge,
        })
    }
}

/// Takes what is left of the bytes that a domain may still charge, until it is dropped.
pub fn poor(realm: &Realm, domain: usize) -> Charge {
    let account = realm.domains[domain].account();
    let left = account.quota().bytes - account.used().bytes;
    account.charge(Resources::bytes(left)).unwrap()
}

/// What may be done with an end besides giving it away.
pub const USE: Rights = Rights::SEND.union(Rights::RECEIVE);

/// A thread of a process: it works until it sleeps, which this waits for, and ends with its work.
pub fn asleep<'scope, R: Send + 'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    realm: &'scope Realm,
    work: impl FnOnce() -> R + Send + 'scope,
) -> std::thread::ScopedJoinHandle<'scope, R> {
    let (tell, told) = std::sync::mpsc::channel();
    let thread = scope.spawn(move || {
        tell.send(fake::FakeTask::current()).unwrap();
        let done = work();
        realm.ipc.end_task(&fake::FakeTask::current());
        done
    });
    told.recv().unwrap().until_asleep();
    thread
}

/// Bytes that follow from a number, their length too.
pub fn bytes(number: u64) -> Vec<u8> {
    let len = (number * 37 % 257) as usize;
    (0..len).map(|at| (number * 31 + at as u64) as u8).collect()
}
