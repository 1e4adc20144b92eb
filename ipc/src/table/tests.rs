//! Places that are used for the last time, or are lent what is there.

use super::*;

impl Held for u32 {
    fn kind(&self) -> ObjectKind {
        ObjectKind::Reply
    }

    fn is(&self, other: &Self) -> bool {
        self == other
    }
}

/// A table with one capability, at a place that is used for the last time.
fn with_last() -> (Table<u32>, Handle) {
    let table = Table::new(&Account::root()).unwrap();
    let mut locked = table.lock();
    locked.prepare(1).unwrap();
    let index = locked.state.free;
    locked.places.at(index).unwrap().age(u32::MAX);
    let handle = locked.insert(7);
    assert_eq!((handle.generation(), handle.index()), (u32::MAX, index));
    drop(locked);
    (table, handle)
}

/// Checks that nothing is in the table, and that the place of a handle is never used again.
fn check_retired(table: &Table<u32>, handle: Handle) {
    assert_eq!(table.with(handle, |_| Ok(())), Err(Error::BadHandle));
    let mut locked = table.lock();
    assert_eq!((locked.len(), locked.state.free_len), (0, BLOCK - 1));
    for _ in 0..2 * BLOCK {
        locked.prepare(1).unwrap();
        let other = locked.insert(8);
        assert_ne!(other.index(), handle.index());
    }
    assert_eq!(locked.len(), 2 * BLOCK);
}

#[test]
fn a_place_is_retired_with_the_last_handle_that_it_can_have() {
    let (table, handle) = with_last();
    assert_eq!(table.lock().remove(handle), Some(7));
    assert_eq!(table.lock().remove(handle), None);
    check_retired(&table, handle);
}

#[test]
fn a_place_is_retired_and_not_kept_when_the_last_is_exchanged() {
    let (table, handle) = with_last();
    let (held, kept) = table.exchange(handle, |_| Ok(())).unwrap();
    assert!(held == 7 && kept.is_none());
    check_retired(&table, handle);
}

#[test]
fn what_is_put_back_where_no_place_was_kept_is_there_for_the_last_time() {
    let (table, handle) = with_last();
    let refused = table.exchange(handle, |_| Err(Error::Denied));
    assert_eq!(refused.err(), Some(Error::Denied));
    for _ in 0..2 {
        let (held, kept) = table.exchange(handle, |_| Ok(())).unwrap();
        table.put_back(handle, kept, held);
        assert_eq!(table.with(handle, |held| Ok(*held)), Ok(7));
        assert_eq!(table.lock().len(), 1);
    }
    assert_eq!(table.lock().remove(handle), Some(7));
    check_retired(&table, handle);
}

#[test]
fn what_is_put_back_where_a_place_was_kept_is_the_same_handle_and_counts_once() {
    let table = Table::new(&Account::root()).unwrap();
    table.lock().prepare(1).unwrap();
    let handle = table.lock().insert(7);
    let (held, kept) = table.exchange(handle, |_| Ok(())).unwrap();
    assert_eq!(table.with(handle, |_| Ok(())), Err(Error::BadHandle));
    table.put_back(handle, kept, held);
    assert_eq!(table.with(handle, |held| Ok(*held)), Ok(7));
    let (_, kept) = table.exchange(handle, |_| Ok(())).unwrap();
    let next = table.fill(&kept.unwrap(), ObjectKind::Reply, 8);
    assert_eq!((next.index(), table.lock().len()), (handle.index(), 1));
    assert_eq!(table.with(handle, |_| Ok(())), Err(Error::BadHandle));
}

#[test]
fn what_a_place_is_lent_counts_until_its_process_ends_and_leaves_the_table_to_be_dropped() {
    let table = Table::new(&Account::root()).unwrap();
    table.lock().prepare(1).unwrap();
    let handle = table.lock().insert(7);
    let (held, kept) = table.exchange(handle, |_| Ok(())).unwrap();
    table.lend(&kept.unwrap(), 1, held);
    assert_eq!(table.lock().len(), 1);
    // A number is nowhere but at its place.
    assert_eq!(table.lock().pop(), Some(Left::Elsewhere(7)));
    assert_eq!(table.lock().len(), 0);
    assert!(table.take_back(handle).is_none(), "nobody's");
    assert_eq!(table.lock().pop(), None);
}

#[test]
fn a_place_that_is_taken_back_is_kept_until_it_is_given_back() {
    let table = Table::new(&Account::root()).unwrap();
    table.lock().prepare(1).unwrap();
    let handle = table.lock().insert(7);
    let (held, kept) = table.exchange(handle, |_| Ok(())).unwrap();
    table.lend(&kept.unwrap(), 5, held);
    let (kept, held, loan) = table.take_back(handle).unwrap();
    assert_eq!((held, loan, table.lock().len()), (7, 5, 1));
    assert_eq!(table.lock().pop(), None);
    table.lock().give_back(&kept);
    assert_eq!(table.lock().len(), 0);
}
