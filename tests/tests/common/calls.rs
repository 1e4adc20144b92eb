//! What the tests of calls have in common: asking, answering, and what came of it.

use abi::{Error, FOREVER, Handle, HandleTransfer};
use ipc::{Fit, Outgoing};

use super::messages::End;
use super::realm::Realm;

pub const ROOMY: Fit = Fit::Message {
    bytes: 256,
    handles: 4,
};

/// What a call came to: the bytes and the handles.
pub type Answer = Result<(Vec<u8>, Vec<Handle>), Error>;

pub fn call(
    realm: &Realm,
    end: &End,
    bytes: &[u8],
    transfers: &[HandleTransfer],
    fit: Fit,
) -> Answer {
    let mut shown = Vec::new();
    let domain = &realm.domains[end.domain];
    let message = Outgoing { bytes, transfers };
    let got = realm
        .ipc
        .call(domain, end.handle, message, fit, FOREVER, |preview| {
            shown = preview.bytes.to_vec();
            Ok(())
        })?;
    Ok((shown, got.handles[..got.handles_len].to_vec()))
}

pub fn reply(realm: &Realm, by: usize, right: Handle, bytes: &[u8]) -> Result<(), Error> {
    let message = Outgoing {
        bytes,
        transfers: &[],
    };
    realm.ipc.reply(&realm.domains[by], right, message)
}

pub fn call_words(realm: &Realm, end: &End, words: [u64; 4]) -> Result<[u64; 4], Error> {
    let domain = &realm.domains[end.domain];
    realm.ipc.call_words(domain, end.handle, words, FOREVER)
}

pub fn serve(
    realm: &Realm,
    end: &End,
    right: Handle,
    words: [u64; 4],
) -> Result<abi::Words, Error> {
    let domain = &realm.domains[end.domain];
    realm.ipc.serve_words(domain, end.handle, right, words)
}

/// Answers a call and takes the next message at once.
pub fn answer_and_receive(
    realm: &Realm,
    end: &End,
    right: Handle,
    (bytes, transfers): (&[u8], &[HandleTransfer]),
) -> Result<(Vec<u8>, ipc::Received), Error> {
    let mut shown = Vec::new();
    let domain = &realm.domains[end.domain];
    let answer = Outgoing { bytes, transfers };
    let next = realm
        .ipc
        .serve(domain, end.handle, right, &answer, 0, |preview| {
            shown = preview.bytes.to_vec();
            Ok(())
        })?;
    Ok((shown, next))
}
