//! What a server can do by entries of a submission ring with the right to answer a call that is over: nothing of it
//! reaches a later call of the same caller.

use std::sync::mpsc::Receiver;

use crate::common::lent::{NONE, Pair};
use crate::common::realm::Realm;
use crate::common::registered::register_entry;
use crate::common::submissions::Submissions;
use abi::submission::{Operation, Submission};
use abi::{Error, Handle, Words};

/// Any slot.
const ANY: u64 = u64::MAX;

/// A time that has not come.
const LATER: u64 = 1 << 40;

/// How a call ends whose right to answer the server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Answered,
    Cancelled,
    TimedOut,
}

/// Has the caller of a pair call until a time.
fn call(pair: &Pair<'_>, word: u64) -> Receiver<Result<u64, Error>> {
    let (realm, end) = (pair.realm, pair.ends.here);
    pair.caller.ask(move || {
        let words = [word, 0, 0, 0];
        let answered = realm
            .ipc
            .call_words(&realm.domains[0], end.handle, words, LATER);
        answered.map(|words| words[0])
    })
}

/// Ends a call that the server has received, which waits for the next one then; what its caller is told.
fn end(pair: &mut Pair<'_>, call: Words, over: Over) -> Result<u64, Error> {
    match over {
        Over::Answered => {
            pair.serve(call);
            return Ok(call.words[0]);
        }
        Over::Cancelled => pair.realm.ipc.cancel_wait(&pair.caller.task).unwrap(),
        Over::TimedOut => pair.caller.task.time_out(),
    }
    pair.serve(NONE);
    Err(match over {
        Over::Cancelled => Error::Cancelled,
        _ => Error::TimedOut,
    })
}

/// Everything that an entry can ask for by a right to answer, each before the right is gone.
fn entries(right: Handle) -> [Submission; 3] {
    let by = |operation, number| {
        let arguments = [right.bits(), 0, 0, 0, 0, 0];
        Submission::new(operation, number, arguments)
    };
    [
        register_entry(1, right, ANY),
        by(Operation::Derive, 2),
        by(Operation::Drop, 3),
    ]
}

#[test]
fn no_entry_reaches_a_later_call_by_the_right_to_answer_an_earlier_one() {
    for over in [Over::Answered, Over::Cancelled, Over::TimedOut] {
        let owned = Realm::new(2);
        let realm = &owned;
        realm.machine().hold_deadlines();
        let mut ring = Submissions::new(realm, 1, 8, 8);
        std::thread::scope(|scope| {
            let mut pair = Pair::lent(scope, realm);
            let answer = call(&pair, 1);
            let first = pair.received();
            // What is registered stays, but the right goes back with the answer.
            let registered = ring.run(realm, &[register_entry(0, first.reply, ANY)]);
            assert_eq!(registered, [(0, Err(Error::Denied))], "{over:?}");
            let told = end(&mut pair, first, over);
            assert_eq!(answer.recv().unwrap(), told, "{over:?}");

            let answer = call(&pair, 2);
            let later = pair.received();
            let done = ring.run(realm, &entries(first.reply)).into_iter();
            let done: Vec<_> = done.map(|(_, outcome)| outcome).collect();
            // A right that nobody waits for any more is there until it is dropped.
            let wanted = match over {
                Over::Answered => [Err(Error::BadHandle); 3],
                _ => [Err(Error::Denied), Err(Error::Denied), Ok(0)],
            };
            assert_eq!(done, wanted, "{over:?}");
            pair.serve(later);
            assert_eq!(answer.recv().unwrap(), Ok(2), "{over:?}");
            pair.finish();
        });
        owned.finish();
    }
}
