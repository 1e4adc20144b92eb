//! Grants: Share and Move, tokens, and what becomes of what nobody accepts.

use abi::limits::MAX_GRANTS;
use rt::{Env, Error, Handle, MapFlags, Mode, Process, Region, Rights, Token};

use crate::Case;
use crate::calls::{
    READ_WRITE, cancel as withdraw, cap_derive, cap_drop, cap_info, map, map_all, peek, poke,
    protect, region, region_destroy, region_info, region_seal, small_ring, unmap,
};
use crate::check::{PAGE_FAULT, eventually, other_cpu, succeeds};

const ACCESS: Rights = READ_WRITE.union(Rights::MAP).union(Rights::INSPECT);

/// A child with one end of a ring, and the end of this process; tokens travel in a shared page.
struct Partner {
    process: Process,
    /// To grant through.
    via: Handle,
    /// A page that both see: word 0 is the token, word 1 the answer.
    page: u64,
}

impl Partner {
    fn start(case: &Case, role: &str) -> Partner {
        let (via, theirs) = small_ring();
        let board = region(4096);
        let page = map_all(board, READ_WRITE);
        let spawn = case
            .child(role)
            .handle(theirs, Mode::Move, Rights::all())
            .handle(board, Mode::Share, ACCESS)
            .cpus(other_cpu());
        Partner {
            process: done!(spawn.start(), "starting a partner"),
            via,
            page,
        }
    }

    fn tell(&self, token: Token) {
        poke(self.page, token.bits());
    }

    fn answer(&self) -> u64 {
        eventually("the partner's answer", || peek(self.page + 8) != 0);
        peek(self.page + 8)
    }
}

/// The partner's side: the token, and the page to answer in.
fn told(env: &Env) -> (Token, u64) {
    let page = map_all(env.handle(1), READ_WRITE);
    eventually("a token", || peek(page) != 0);
    (Token::from_bits(peek(page)), page)
}

pub fn share(case: &Case) {
    let partner = Partner::start(case, "accept_shared");
    let handle = region(4096);
    let start = map_all(handle, READ_WRITE);
    poke(start, 11);
    let token = done!(
        rt::grant(handle, partner.via, Mode::Share, Rights::READ | Rights::MAP),
        "Share"
    );
    partner.tell(token);
    same!(partner.answer(), 11, "what the partner reads");
    poke(start, 12);
    succeeds(&partner.process);
}

pub fn move_away(case: &Case) {
    let partner = Partner::start(case, "accept_moved");
    let handle = region(4096);
    let start = map_all(handle, READ_WRITE);
    poke(start, 21);
    let token = done!(rt::grant(handle, partner.via, Mode::Move, ACCESS), "Move");
    refused!(
        protect(start, Rights::READ),
        Error::Revoked,
        "the mapping of what was moved away"
    );
    partner.tell(token);
    same!(partner.answer(), 21, "what the partner reads");
    refused!(cap_info(handle), Error::BadHandle, "the old handle");
    refused!(
        rt::grant(handle, partner.via, Mode::Share, Rights::READ),
        Error::BadHandle,
        "sharing what was moved away"
    );
    poke(partner.page + 16, 1);
    succeeds(&partner.process);
    // And it ends whoever touches it.
    let child = done!(case.child("touch_moved").start(), "starting a child");
    let status = crate::check::faults(&child, PAGE_FAULT);
    same!(status.address % (2 << 20), 0, "where it faulted");
}

pub fn tokens(case: &Case) {
    let (via, back) = small_ring();
    let (other, other_back) = small_ring();
    let handle = region(4096);
    let token = done!(rt::grant(handle, via, Mode::Share, Rights::READ), "Share");
    let bits = token.bits();
    for forged in [
        0,
        1,
        u64::MAX,
        bits + 1,
        bits + (1 << 24),
        bits ^ (1 << 56),
        bits ^ (1 << 60),
        bits | 1 << 63,
    ] {
        refused!(
            rt::accept(Token::from_bits(forged), back),
            Error::NotFound,
            "the token {forged:#x}"
        );
    }
    refused!(
        rt::accept(token, case.initrd),
        Error::WrongKind,
        "through a region"
    );
    // Not for the process at the end of another ring, whichever process shows it.
    let partner = Partner::start(case, "refused_token");
    partner.tell(token);
    succeeds(&partner.process);
    let _ = (other, other_back);
    let accepted = done!(rt::accept(token, back), "accepting");
    same!(
        done!(cap_info(accepted), "cap_info").rights,
        Rights::READ.bits(),
        "the rights that were granted"
    );
    refused!(rt::accept(token, back), Error::NotFound, "accepting twice");
    refused!(
        withdraw(token),
        Error::NotFound,
        "cancelling what is accepted"
    );
    // A token for somebody else is refused to its own grantor.
    let partner = Partner::start(case, "wait_for_token");
    let token = done!(
        rt::grant(handle, partner.via, Mode::Share, Rights::READ),
        "Share"
    );
    refused!(
        rt::accept(token, partner.via),
        Error::NotFound,
        "somebody else's token"
    );
    done!(withdraw(token), "cancelling");
    partner.tell(token);
    succeeds(&partner.process);
    done!(region_destroy(handle), "destroying");
    refused!(cap_info(accepted), Error::Revoked, "what was accepted");
}

pub fn cancel(_: &Case) {
    let (via, back) = small_ring();
    let handle = region(4096);
    let start = map_all(handle, READ_WRITE);
    poke(start, 31);
    let token = done!(rt::grant(handle, via, Mode::Move, Rights::READ), "Move");
    done!(withdraw(token), "cancelling");
    refused!(rt::accept(token, back), Error::NotFound, "accepting");
    refused!(withdraw(token), Error::NotFound, "cancelling twice");
    same!(
        done!(cap_info(handle), "cap_info").rights,
        Rights::REGION.bits(),
        "the rights that came back"
    );
    same!(peek(map_all(handle, READ_WRITE)), 31, "the bytes");
    // What can't be given is dropped like anything that a function was given.
    let region = done!(Region::create(4096), "a region");
    let (mapping, handle) = (region.map(READ_WRITE), region.handle());
    let mapping = done!(mapping, "mapping");
    let va = mapping.address();
    refused!(
        region.give([mapping], handle, ACCESS),
        Error::WrongKind,
        "giving over a region"
    );
    refused!(cap_info(handle), Error::BadHandle, "the region");
    refused!(unmap(va), Error::NotFound, "its mapping");
}

pub fn in_transit(_: &Case) {
    let (via, back) = small_ring();
    let handle = region(4096);
    let token = done!(rt::grant(handle, via, Mode::Move, ACCESS), "Move");
    let gone = Error::InTransit;
    refused!(cap_info(handle), gone, "cap_info");
    refused!(cap_drop(handle), gone, "cap_drop");
    refused!(cap_derive(handle, Rights::READ), gone, "cap_derive");
    refused!(crate::calls::cap_revoke(handle), gone, "cap_revoke");
    refused!(region_seal(handle), gone, "region_seal");
    refused!(region_destroy(handle), gone, "region_destroy");
    refused!(
        map(handle, 0, 0, 0, Rights::READ, MapFlags::empty()),
        gone,
        "map"
    );
    refused!(
        rt::grant(handle, via, Mode::Share, Rights::READ),
        gone,
        "granting it again"
    );
    let accepted = done!(rt::accept(token, back), "accepting");
    same!(
        done!(cap_info(accepted), "cap_info").rights,
        ACCESS.bits(),
        "the rights that were granted"
    );
    refused!(cap_info(handle), Error::BadHandle, "the old handle");
}

pub fn exclusive(_: &Case) {
    let (via, back) = small_ring();
    let handle = region(4096);
    let go = |handle| rt::grant(handle, via, Mode::Move, ACCESS);
    let reader = done!(cap_derive(handle, Rights::READ), "deriving");
    refused!(go(handle), Error::Shared, "another can read");
    done!(cap_drop(reader), "dropping");
    let watcher = done!(cap_derive(handle, Rights::INSPECT), "deriving");
    let below = done!(
        cap_derive(
            handle,
            Rights::READ | Rights::MAP | Rights::MOVE | Rights::GRANT
        ),
        "deriving"
    );
    refused!(go(below), Error::Shared, "an ancestor can read");
    let mapping = map_all(below, Rights::READ);
    done!(cap_drop(below), "dropping");
    refused!(go(handle), Error::Shared, "a mapping of a dropped handle");
    done!(unmap(mapping), "unmapping");
    let pending = done!(
        rt::grant(handle, via, Mode::Share, Rights::READ),
        "a pending Share"
    );
    refused!(go(handle), Error::Shared, "a pending token");
    done!(withdraw(pending), "cancelling");
    let token = done!(go(handle), "Move beside one that only inspects");
    let accepted = done!(rt::accept(token, back), "accepting");
    done!(cap_info(watcher), "the one that inspects");
    done!(region_info(accepted), "region_info");
}

pub fn addressee_dies(case: &Case) {
    let partner = Partner::start(case, "wait_for_token");
    let handle = region(4096);
    poke(map_all(handle, READ_WRITE), 41);
    let token = done!(rt::grant(handle, partner.via, Mode::Move, ACCESS), "Move");
    let shared = region(4096);
    done!(
        rt::grant(shared, partner.via, Mode::Share, Rights::READ),
        "Share"
    );
    done!(partner.process.kill(), "killing");
    let _ = crate::check::wait(&partner.process);
    eventually("what was moved comes back", || cap_info(handle).is_ok());
    refused!(
        withdraw(token),
        Error::NotFound,
        "the token of a dead process"
    );
    same!(
        done!(cap_info(shared), "cap_info").descendants,
        0,
        "what was shared"
    );
    same!(peek(map_all(handle, READ_WRITE)), 41, "the bytes");
    refused!(
        rt::grant(handle, partner.via, Mode::Move, ACCESS),
        Error::PeerClosed,
        "granting to the dead"
    );
    done!(cap_info(handle), "what could not be moved");
}

pub fn to_a_process(case: &Case) {
    let board = region(4096);
    let page = map_all(board, READ_WRITE);
    let (via, theirs) = small_ring();
    let child = case
        .child("accept_shared")
        .handle(theirs, Mode::Move, Rights::all())
        .handle(board, Mode::Share, ACCESS);
    let child = done!(child.start(), "starting a child");
    let handle = region(4096);
    let start = map_all(handle, READ_WRITE);
    poke(start, 51);
    // Made through the process handle, taken through the ring: the same two processes.
    let token = done!(
        rt::grant(
            handle,
            child.handle(),
            Mode::Share,
            Rights::READ | Rights::MAP
        ),
        "Share to a process"
    );
    poke(page, token.bits());
    eventually("the child's answer", || peek(page + 8) != 0);
    same!(peek(page + 8), 51, "what the child reads");
    poke(start, 12);
    succeeds(&child);
    let _ = via;
}

pub fn pending_limit(_: &Case) {
    let (via, back) = small_ring();
    let handle = region(4096);
    let mut tokens = alloc::vec::Vec::new();
    let refusal = loop {
        match rt::grant(handle, via, Mode::Share, Rights::READ) {
            Ok(token) => tokens.push(token),
            Err(error) => break error,
        }
    };
    same!(
        (refusal, tokens.len()),
        (Error::Limit, MAX_GRANTS),
        "pending grants"
    );
    for (index, token) in tokens.iter().enumerate() {
        if index % 2 == 0 {
            done!(withdraw(*token), "cancelling");
        } else {
            done!(rt::accept(*token, back), "accepting");
        }
    }
    done!(
        rt::grant(handle, via, Mode::Share, Rights::READ),
        "granting again"
    );
}

/// The roles of children here. Handles: the other end of the ring, the page to talk in.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    let via = env.handle(0);
    match role {
        "accept_shared" => {
            let (token, page) = told(env);
            let handle = done!(rt::accept(token, via), "accepting");
            let start = map_all(handle, Rights::READ);
            refused!(
                map(handle, 0, 0, 0, READ_WRITE, MapFlags::empty()),
                Error::Denied,
                "writing to what was shared for reading"
            );
            refused!(
                cap_derive(handle, Rights::READ),
                Error::Denied,
                "deriving without DUPLICATE"
            );
            poke(page + 8, peek(start));
            eventually("the sender's write", || peek(start) == 12);
        }
        "accept_moved" => {
            let (token, page) = told(env);
            let handle = done!(rt::accept(token, via), "accepting");
            let start = map_all(handle, READ_WRITE);
            poke(page + 8, peek(start));
            eventually("the sender", || peek(page + 16) != 0);
            poke(start, 1);
        }
        "touch_moved" => {
            let (via, _back) = small_ring();
            let handle = region(4096);
            let start = map_all(handle, READ_WRITE);
            poke(start, 1);
            done!(rt::grant(handle, via, Mode::Move, ACCESS), "Move");
            let _ = peek(start);
        }
        "refused_token" => {
            let (token, _) = told(env);
            refused!(
                rt::accept(token, via),
                Error::NotFound,
                "a token for somebody else"
            );
            refused!(withdraw(token), Error::NotFound, "cancelling it");
        }
        "wait_for_token" => {
            let (token, _) = told(env);
            refused!(
                rt::accept(token, via),
                Error::NotFound,
                "a token that was withdrawn"
            );
        }
        _ => return None,
    }
    Some(0)
}
