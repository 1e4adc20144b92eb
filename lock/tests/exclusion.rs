//! One at a time has a lock, and sees what those before it did.

use std::thread;

use lock::Mutex;

#[test]
fn threads_that_count_under_a_lock_lose_nothing() {
    const THREADS: u64 = 4;
    const TURNS: u64 = if cfg!(miri) { 50 } else { 20_000 };
    let counted = Mutex::new((0, 0));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..TURNS {
                    let mut counted = counted.lock();
                    // Both or neither, for whoever has the lock.
                    assert_eq!(counted.0, counted.1);
                    counted.0 += 1;
                    counted.1 += 1;
                }
            });
        }
    });
    assert_eq!(counted.into_inner(), (THREADS * TURNS, THREADS * TURNS));
}

#[test]
fn who_tries_a_lock_that_is_held_does_not_get_it() {
    let mutex = Mutex::new(());
    let held = mutex.lock();
    assert!(mutex.is_locked() && mutex.try_lock().is_none());
    drop(held);
    assert!(!mutex.is_locked() && mutex.try_lock().is_some());
    assert!(!mutex.is_locked());
}
