//! What a thread of domain 0 can wait at, the other end of which domain 1 has where there is one.

use abi::submission::SubmissionArgs;
use abi::{Handle, Mode, RingGeometry};

use super::hubs::Hub;
use super::messages::{End, Ends};
use super::ports::{notification, port};
use super::realm::Realm;

/// What is waited at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Notification,
    Port,
    Process,
    Channel,
    Ring,
    Hub,
    Submissions,
}

/// What there is to wait at.
pub struct Scene {
    /// The first capability of domain 0.
    pub object: Handle,
    /// The other end.
    pub there: Option<End>,
}

impl Scene {
    pub fn of(realm: &Realm, at: At) -> Scene {
        let alone = |object| Scene {
            object,
            there: None,
        };
        match at {
            At::Notification => alone(notification(realm, 0)),
            At::Port => alone(port(realm, 0)),
            At::Process => alone(realm.via[0][1]),
            At::Channel => {
                let ends = Ends::between(realm, 0, 1, 1);
                Scene {
                    object: ends.here.handle,
                    there: Some(ends.there),
                }
            }
            At::Hub => alone(Hub::new(realm, 1).handle),
            At::Submissions => {
                let (domain, args) = (&realm.domains[0], SubmissionArgs::new(4, 4));
                alone(realm.ipc.create_submission_ring(domain, &args).unwrap())
            }
            At::Ring => {
                let geometry = RingGeometry::slot(64, 4).decode().unwrap();
                let (producer, consumer) =
                    realm.ipc.create_ring(&realm.domains[0], geometry).unwrap();
                let there = realm.give(0, producer, 1, Mode::Move);
                Scene {
                    object: consumer,
                    there: Some(End::new(1, there)),
                }
            }
        }
    }
}
