//! Where somebody waits, and what is done around that.
//!
//! Domain 0 waits; domain 1 has the other end where there is one.

use std::sync::mpsc;
use std::thread::{Scope, ScopedJoinHandle};

use abi::{Error, FOREVER, Handle, Words};
use fake::FakeTask;
use ipc::Outgoing;

use super::calls::{self, ROOMY};
use super::messages::End;
use super::realm::Realm;
use super::scenes::Scene;

/// No words.
pub const NOTHING: Words = Words {
    words: [0; 4],
    reply: Handle::NONE,
    badge: 0,
};

/// What is sent where it does not matter.
pub const HELLO: Outgoing<'static> = Outgoing {
    bytes: b"hello",
    transfers: &[],
};

/// Where somebody waits.
pub struct Stage<'a> {
    pub realm: &'a Realm,
    pub scene: &'a Scene,
    /// The capability to wait by.
    pub handle: Handle,
    pub deadline: u64,
    /// Says that nothing is left to do before the sleep.
    pub ready: &'a (dyn Fn() + Sync),
}

impl Stage<'_> {
    pub fn domain(&self) -> &std::sync::Arc<super::realm::Domain> {
        &self.realm.domains[0]
    }

    pub fn here(&self) -> End {
        End::new(0, self.handle)
    }

    pub fn there(&self) -> End {
        self.scene.there.unwrap()
    }

    /// Begins to wait, with nothing done before.
    pub fn begin(&self) {
        (self.ready)();
    }

    pub fn call(&self) -> Result<(), Error> {
        let call = self.realm.ipc.call(
            self.domain(),
            self.handle,
            HELLO,
            ROOMY,
            self.deadline,
            |_| Ok(()),
        );
        call.map(drop)
    }

    pub fn call_words(&self) -> Result<(), Error> {
        let call = self
            .realm
            .ipc
            .call_words(self.domain(), self.handle, [1; 4], self.deadline);
        call.map(drop)
    }

    pub fn serve_words(&self, call: &Words) -> Result<Words, Error> {
        calls::serve(self.realm, &self.here(), call.reply, call.words)
    }

    /// Does something while a thread of domain 1 has received a call of it, which it answers if that is the
    /// first of two.
    pub fn while_received(
        &self,
        words: bool,
        calls: usize,
        wait: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (realm, there) = (self.realm, self.there());
        std::thread::scope(|scope| {
            let (leave, left) = mpsc::channel::<()>();
            let server = helper(scope, realm, move || {
                let mut call = NOTHING;
                for _ in 0..calls {
                    call = match words {
                        true => calls::serve(realm, &there, call.reply, call.words).unwrap(),
                        false => Words {
                            reply: there.receive_until(realm, FOREVER).unwrap().reply,
                            ..NOTHING
                        },
                    };
                }
                (self.ready)();
                let _ = left.recv();
            });
            let waited = wait();
            drop(leave);
            server.join().unwrap();
            waited
        })
    }
}

/// A thread that does something beside who waits.
pub fn helper<'scope>(
    scope: &'scope Scope<'scope, '_>,
    realm: &'scope Realm,
    work: impl FnOnce() + Send + 'scope,
) -> ScopedJoinHandle<'scope, ()> {
    scope.spawn(move || {
        work();
        realm.ipc.end_task(&FakeTask::current());
    })
}
