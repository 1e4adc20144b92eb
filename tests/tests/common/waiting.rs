//! Threads that wait.

use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use fake::FakeTask;

use super::realm::Realm;

/// Starts a thread that waits for something, and comes back when it sleeps.
pub fn asleep<T: Send + 'static>(
    realm: &Arc<Realm>,
    wait: impl FnOnce(&Realm) -> T + Send + 'static,
) -> JoinHandle<T> {
    let (thread, task) = waiting(realm, wait);
    task.until_asleep();
    thread
}

/// The same, with the task that sleeps.
pub fn waiting<T: Send + 'static>(
    realm: &Arc<Realm>,
    wait: impl FnOnce(&Realm) -> T + Send + 'static,
) -> (JoinHandle<T>, FakeTask) {
    let realm = realm.clone();
    let (tell, told) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        tell.send(FakeTask::current()).unwrap();
        wait(&realm)
    });
    (thread, told.recv().unwrap())
}
