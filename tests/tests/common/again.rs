//! Calls in words as a kernel makes them: by halves where who met meets again, and at length otherwise.

use std::sync::Arc;

use abi::{Error, FOREVER, Handle, Words};
use fake::{FakeMachine, FakeTask};
use ipc::{Counted, Ipc, Platform};

use super::realm::Domain;

/// The first half of a call, which hands its words over, or None.
pub fn begin_call(
    ipc: &Ipc<FakeMachine>,
    caller: &Domain,
    end: Handle,
    words: [u64; 4],
) -> Option<FakeTask> {
    ipc.call_again(caller, end, || counted(ipc, words), other)
}

/// The first half of an answer.
pub fn begin_answer(
    ipc: &Ipc<FakeMachine>,
    server: &Domain,
    by: (Handle, Handle),
    words: [u64; 4],
) -> Option<FakeTask> {
    ipc.answer_again(server, by, || counted(ipc, words), other)
}

fn counted(ipc: &Ipc<FakeMachine>, words: [u64; 4]) -> [u64; 4] {
    ipc.platform().count(Counted::Handed);
    words
}

/// Who is to go on.
fn other(_: &FakeTask, other: &FakeTask) -> Option<FakeTask> {
    Some(other.clone())
}

/// Calls with four words.
pub fn call_words(
    ipc: &Ipc<FakeMachine>,
    caller: &Arc<Domain>,
    end: Handle,
    words: [u64; 4],
) -> Result<[u64; 4], Error> {
    match begin_call(ipc, caller, end, words) {
        Some(server) => {
            ipc.platform().unpark_and_park(&server, FOREVER);
            ipc.called_again(caller, end, FOREVER)
        }
        None => ipc.call_words(caller, end, words, FOREVER),
    }
}

/// Answers a call, and serves on.
pub fn serve_words(
    ipc: &Ipc<FakeMachine>,
    server: &Domain,
    end: Handle,
    call: &Words,
) -> Result<Words, Error> {
    match begin_answer(ipc, server, (end, call.reply), call.words) {
        Some(caller) => {
            ipc.platform().unpark_and_park(&caller, FOREVER);
            ipc.answered_again(server, (end, call.reply))
        }
        None => ipc.serve_words(server, end, call.reply, call.words),
    }
}
