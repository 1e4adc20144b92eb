//! Capabilities themselves: derived, narrowed, taken away and handed over.

use abi::{DeriveArgs, Error, Mode, RevokeFlags, Rights};
use ipc::Narrowing;

use super::deed::{Deed, Way};
use crate::common::revoked::{ALL, BITS, END, PROCESS, REGION, Scene};

pub const DEEDS: &[Deed] = &[
    Deed::new(
        "derive",
        &["cap_derive.handle"],
        Way::Revoked(REGION),
        |s| s.ipc().derive(s.me(), s.below[REGION], ALL).map(drop),
        // Its table may be locked.
        Scene::is_shared,
    )
    .in_one_hold(),
    Deed::new(
        "derive something narrower",
        &["cap_derive_with.handle"],
        Way::Revoked(REGION),
        |s| {
            let narrowing = Narrowing::decode(&DeriveArgs::new(ALL)).unwrap();
            let ipc = s.ipc();
            ipc.derive_with(s.me(), s.below[REGION], &narrowing)
                .map(drop)
        },
        Scene::is_shared,
    )
    .in_one_hold(),
    Deed::new(
        "drop",
        &["cap_drop.handle"],
        Way::Moved(|s| s.spare),
        |s| s.ipc().drop_capability(s.me(), s.spare),
        |s| s.realm.look_up(1, s.spare) == Err(Error::BadHandle),
    )
    .in_one_hold(),
    Deed::new(
        "revoke",
        &["cap_revoke.handle"],
        Way::Reduced(|s| s.below[REGION]),
        |s| {
            let flags = RevokeFlags::empty();
            s.ipc().revoke(s.me(), s.below[REGION], flags).map(drop)
        },
        |s| s.realm.look_up(1, s.child) == Err(Error::Revoked),
    ),
    Deed::new(
        "reduce",
        &["cap_reduce.handle"],
        Way::Revoked(REGION),
        |s| s.ipc().reduce(s.me(), s.below[REGION], Rights::READ),
        |s| s.realm.look_up(1, s.child) == Ok(Rights::READ),
    )
    .in_one_hold(),
    Deed::new(
        "share over a channel",
        &["grant.via"],
        Way::Revoked(END),
        |s| s.grant(s.spare, Mode::Share),
        |s| s.is_offered(Mode::Share),
    ),
    Deed::new(
        "move over a channel",
        &["grant.via"],
        Way::Revoked(END),
        |s| s.grant(s.spare, Mode::Move),
        |s| s.is_offered(Mode::Move),
    ),
    Deed::new(
        "give a snapshot over a channel",
        &["grant.via"],
        Way::Revoked(END),
        |s| s.grant(s.spare, Mode::CopyOnWrite),
        |s| s.is_offered(Mode::CopyOnWrite),
    ),
    Deed::new(
        "share what is taken away",
        &["grant.handle"],
        Way::Revoked(REGION),
        |s| s.grant(s.below[REGION], Mode::Share),
        |s| s.is_offered(Mode::Share),
    ),
    Deed::new(
        "move what is taken away",
        &["grant.handle"],
        Way::Reduced(|s| s.spare),
        |s| s.grant(s.spare, Mode::Move),
        |s| s.is_offered(Mode::Move),
    ),
    Deed::new(
        "give a snapshot of what is taken away",
        &["grant.handle"],
        Way::Revoked(REGION),
        |s| s.grant(s.below[REGION], Mode::CopyOnWrite),
        Scene::is_copied,
    ),
    Deed::new(
        "accept",
        &["accept.via"],
        Way::Revoked(PROCESS),
        accept,
        |s| s.has_more(1),
    ),
    Deed::new(
        "accept what is taken away",
        &["accept.token"],
        Way::Withdrawn(BITS),
        accept,
        |s| s.has_more(1),
    ),
    Deed::new(
        "take back",
        &["cancel.token"],
        Way::Taken,
        |s| s.ipc().cancel(s.me(), s.offer),
        |s| s.realm.look_up(1, s.offered).is_ok(),
    )
    .in_one_hold(),
    Deed::new(
        "send a share",
        CARRIERS,
        Way::Revoked(REGION),
        |s| s.send(s.below[REGION], Mode::Share),
        Scene::is_shared,
    ),
    Deed::new(
        "send a Move",
        CARRIERS,
        Way::Reduced(|s| s.spare),
        |s| s.send(s.spare, Mode::Move),
        has_come,
    ),
    Deed::new(
        "send a snapshot",
        CARRIERS,
        Way::Revoked(REGION),
        |s| s.send(s.below[REGION], Mode::CopyOnWrite),
        Scene::is_copied,
    ),
];

/// Where capabilities are handed over together with something else, all in one way.
const CARRIERS: &[&str] = &[
    "channel_send.message",
    "channel_call.request",
    "channel_reply.message",
    "channel_serve.answer",
    "process_spawn.args",
];

fn accept(scene: &Scene) -> Result<(), Error> {
    let ipc = scene.ipc();
    ipc.accept(scene.me(), scene.token, scene.below[PROCESS])
        .map(drop)
}

/// Whether a message of domain 1 is there.
fn has_come(scene: &Scene) -> bool {
    scene.queued(scene.ends.there.handle) == 1
}
