//! Callers and servers that have met so often that the right to reply is lent.

use std::collections::HashSet;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::Scope;

use abi::{Error, Handle, ObjectKind, Words};
use fake::FakeTask;

use super::again;
use super::messages::{End, Ends};
use super::realm::Realm;

/// No call to answer.
pub const NONE: Words = Words {
    words: [0; 4],
    reply: Handle::NONE,
    badge: 0,
};

type Job<'scope> = Box<dyn FnOnce() + Send + 'scope>;

/// A task that does what it is asked to, one thing after the other.
pub struct Worker<'scope> {
    jobs: Sender<Job<'scope>>,
    pub task: FakeTask,
}

impl<'scope> Worker<'scope> {
    pub fn new<'env>(scope: &'scope Scope<'scope, 'env>, realm: &'scope Realm) -> Worker<'scope> {
        let (jobs, asked) = mpsc::channel::<Job<'scope>>();
        let (name, named) = mpsc::channel();
        scope.spawn(move || {
            name.send(FakeTask::current()).unwrap();
            for job in asked {
                job();
            }
            realm.ipc.end_task(&FakeTask::current());
        });
        let task = named.recv().unwrap();
        Worker { jobs, task }
    }

    pub fn ask<R: Send + 'scope>(&self, job: impl FnOnce() -> R + Send + 'scope) -> Receiver<R> {
        let (done, outcome) = mpsc::channel();
        let job = Box::new(move || _ = done.send(job()));
        self.jobs.send(job).unwrap();
        outcome
    }
}

/// A caller of domain 0 and a server at the two ends of a channel.
pub struct Pair<'scope> {
    pub realm: &'scope Realm,
    pub ends: Ends,
    /// The domain of the server.
    pub domain: usize,
    pub caller: Worker<'scope>,
    pub server: Worker<'scope>,
    pub served: Receiver<Result<Words, Error>>,
    /// The names that rights to reply had.
    pub names: HashSet<Handle>,
}

impl<'scope> Pair<'scope> {
    /// A pair that has met so often that the right is lent, and whose server waits.
    pub fn lent<'env>(scope: &'scope Scope<'scope, 'env>, realm: &'scope Realm) -> Pair<'scope> {
        Pair::lent_to(scope, realm, 1)
    }

    /// The same with a server of a domain.
    pub fn lent_to<'env>(
        scope: &'scope Scope<'scope, 'env>,
        realm: &'scope Realm,
        domain: usize,
    ) -> Pair<'scope> {
        let ends = Ends::between(realm, 0, domain, 2);
        let (caller, server) = (Worker::new(scope, realm), Worker::new(scope, realm));
        let mut pair = Pair {
            realm,
            ends,
            domain,
            caller,
            server,
            served: mpsc::channel().1,
            names: HashSet::new(),
        };
        pair.serve(NONE);
        pair.meet_often();
        pair
    }

    /// Has the server answer a call and wait for the next one.
    pub fn serve(&mut self, call: Words) {
        let (realm, end) = (self.realm, self.ends.there);
        self.served = self.server.ask(move || {
            let domain = &realm.domains[end.domain];
            again::serve_words(&realm.ipc, domain, end.handle, &call)
        });
        self.server.task.until_sleeping();
    }

    /// Has the caller call.
    pub fn call(&self, word: u64) -> Receiver<Result<u64, Error>> {
        let (realm, end) = (self.realm, self.ends.here);
        self.caller.ask(move || call(realm, end, word))
    }

    /// What the server has received, by a name that no other call had.
    pub fn received(&mut self) -> Words {
        let call = self.served.recv().unwrap().unwrap();
        assert!(self.names.insert(call.reply), "{} twice", call.reply);
        call
    }

    /// Has a call answered, and the server wait again.
    pub fn meet(&mut self, word: u64) {
        let answer = self.call(word);
        let call = self.received();
        assert_eq!(call.words[0], word);
        self.serve(call);
        assert_eq!(answer.recv().unwrap(), Ok(word));
    }

    pub fn meet_often(&mut self) {
        (1..5).for_each(|word| self.meet(word));
    }

    /// The name of the right to reply to the next call, if it comes by the loan.
    pub fn next_name(&self) -> Handle {
        let last = self.names.iter().max_by_key(|name| name.generation());
        let last = last.unwrap();
        Handle::new(last.index(), last.generation() + 1, ObjectKind::Reply)
    }

    /// Ends all of it while the server waits.
    pub fn finish(self) {
        self.ends.here.drop(self.realm);
        assert_eq!(self.served.recv().unwrap(), Err(Error::PeerClosed));
        self.ends.there.drop(self.realm);
    }
}

pub fn call(realm: &Realm, end: End, word: u64) -> Result<u64, Error> {
    let domain = &realm.domains[end.domain];
    let words = [word, 0, 0, 0];
    let words = again::call_words(&realm.ipc, domain, end.handle, words)?;
    Ok(words[0])
}

pub fn reply(realm: &Realm, domain: usize, right: Handle) -> Result<(), Error> {
    realm
        .ipc
        .reply_words(&realm.domains[domain], right, [77; 4])
}

pub fn info(realm: &Realm, right: Handle) -> Result<u64, Error> {
    let info = realm.ipc.capability_info(&realm.domains[1], right);
    info.map(|info| info.koid)
}
