//! What a guest grants for its payloads, and does with it afterwards.

use alloc::string::ToString;

use ring::payload::{Frame, RegionId, RegionRef};
use rt::{Env, Error, FOREVER, GrantFlags, Handle, Mode, Token};

use super::payloads::{MESSAGE, Member, Partner, is_payload, payload};
use super::{ALL, host};
use crate::Case;
use crate::calls::{self, READ_WRITE};
use crate::check::succeeds;

/// Bytes of each region, and of what is published of it.
const LENGTH: usize = 8192;

/// How the guest grants it.
const WAYS: [&str; 3] = ["shared", "overcommitted", "a snapshot"];

/// Grants a region in one of the [ways](WAYS).
fn grant(way: usize, region: Handle, via: Handle) -> Result<Token, Error> {
    let none = GrantFlags::empty();
    match way {
        0 => calls::grant(region, via, Mode::Share, ALL, none),
        1 => calls::grant(region, via, Mode::CopyOnWrite, ALL, GrantFlags::OVERCOMMIT),
        _ => calls::grant(region, via, Mode::CopyOnWrite, ALL, none),
    }
}

pub fn taken_back(case: &Case) {
    let host = host(1);
    for (way, name) in WAYS.into_iter().enumerate() {
        let (member, seat) = done!(host.reserve(), "a seat");
        let child = case.child("hub_takes_back").arg(&seat.epoch.to_string());
        let child = child.arg(&way.to_string());
        let child = done!(child.handle(member, Mode::Move, ALL).start(), "a guest");
        let mut partner = Partner::meet(&host, seat.peer);
        // By then the region was taken.
        let told = done!(partner.next(), "that it has published: {name}");
        partner.finish(told);
        partner.send(1, b"taken");
        let received = done!(partner.next(), "the payload: {name}");
        check!(
            is_payload(&partner.payloads, &received, 7),
            "not what was published: {name}"
        );
        partner.finish(received);
        partner.send(2, b"read");
        succeeds(&child);
        let Partner { link, payloads } = partner;
        let recovered = host.recover_payloads(link, payloads, |_, _| {});
        let recovered = done!(recovered, "recovering its seat");
        check!(!recovered.drained.fault, "a fault of it: {name}");
    }
}

/// The side of the guest.
fn takes_back(env: &Env) {
    let way = crate::number(env, 1) as usize;
    let mut member = Member::new(env);
    let region = calls::region(LENGTH as u64);
    let view = calls::map_all(region, READ_WRITE);
    for (index, word) in payload(7, LENGTH).chunks_exact(8).enumerate() {
        let word = word.try_into().map_or(0, u64::from_le_bytes);
        calls::poke(view + 8 * index as u64, word);
    }
    let token = done!(grant(way, region, member.guest.via()), "granting it");
    let id = RegionId {
        slot: 0,
        generation: 1,
    };
    let published = Frame::Published {
        region: id,
        token: token.bits(),
        length: LENGTH as u64,
    };
    member.send_frame(&published);
    done!(member.send(0, b"published"), "telling of it");
    let answer = member.next();
    member.finish(answer);
    // It is changed, and then nobody has what it was but who has made a copy.
    calls::poke(view, 0);
    done!(calls::cap_revoke(region), "taking it back");
    member.send_frame(&Frame::Region {
        tag: 7,
        region: RegionRef {
            region: id,
            offset: 0,
            length: LENGTH as u64,
        },
    });
    // That it is finished, of which nobody here knows, and that it was right.
    for what in ["the lease", "the answer"] {
        done!(member.guest.receive(&mut [0; MESSAGE], FOREVER), "{what}");
    }
}

/// The roles of children here.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    match role {
        "hub_takes_back" => takes_back(env),
        _ => return None,
    }
    Some(0)
}
