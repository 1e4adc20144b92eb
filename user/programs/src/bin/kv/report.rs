//! Compares what the server has left with what has to be there.

use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use programs::expect;
use programs::kv::journal::{self, Journal};
use programs::kv::load::{CLIENTS, Expected, HITS};
use rt::{Region, Rights, println};

use crate::customer::Customer;

/// Reads the journal, compares, and prints. The status of the program.
pub fn compare(customers: &[Customer], regions: &[Region; 2], steps: u32) -> u8 {
    let accounts = customers.len() + 1;
    let [words, mut bytes] = [0, 1].map(|index: usize| {
        let mapped = regions[index].map(Rights::READ | Rights::WRITE);
        expect!(mapped, "kv: mapping the journal")
    });
    // SAFETY: the last server and its supervisor have ended, and this is the one slice of it.
    let bytes = unsafe { bytes.as_mut_slice(journal::bytes(accounts)) };
    let (Some(written), Some(asked_again), Some(bytes)) = (words.word(0), words.word(1), bytes)
    else {
        return 1;
    };
    let Ok(journal) = Journal::open(accounts, [written, asked_again], bytes) else {
        println!("kv: the journal is WRONG");
        return 1;
    };
    let server = journal.server();
    println!("client  lives  joined  requests  keys    bytes");
    let (mut wrong, mut killed, mut lost, mut sums) = (0, 0, 0, [0; 2]);
    for (client, customer) in customers.iter().enumerate() {
        let counts = server.counts(client);
        println!(
            "{client:>6}  {:>5}  {:>6}  {:>8}  {:>4}  {:>7}",
            customer.lives(),
            customer.joined(),
            counts.done,
            counts.keys,
            counts.bytes
        );
        let expected = Expected::after(client, steps);
        let is_there = |(key, value): (&alloc::string::String, &Vec<u8>)| {
            server.value(client, key.as_bytes()) == Some(value)
        };
        let right = counts.done == steps
            && counts.keys == expected.values.len()
            && expected.values.iter().all(is_there);
        wrong += u32::from(!(right && customer.succeeded()));
        killed += customer.lives() - 1;
        // Each life that was not killed before has joined once.
        lost += customer.joined().saturating_sub(customer.lives().into());
        for (sum, key) in sums.iter_mut().zip([HITS, CLIENTS]) {
            *sum += expected.added.get(key).copied().unwrap_or(0);
        }
    }
    let agree = sums == [HITS, CLIENTS].map(|key| server.sum(key.as_bytes()));
    println!(
        "kv: {} requests, {killed} clients killed, {lost} joined again, {} requests asked again; {}",
        customers.len() as u64 * u64::from(steps),
        asked_again.load(Ordering::Relaxed),
        match (wrong, agree) {
            (0, true) => "every value and sum is right",
            (0, false) => "the sums are WRONG",
            _ => "values are WRONG",
        }
    );
    u8::from(wrong > 0 || !agree)
}
