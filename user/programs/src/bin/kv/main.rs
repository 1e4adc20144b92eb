//! A key-value server on a hub, with clients that are killed again and again: what each has asked for is
//! done once, whatever it was told before it ended.
//!
//! Arguments: `[CLIENTS [STEPS [SEED]]]`. The seed says who is killed when. Handles: the initrd. The
//! program starts itself as `client`, each with a seat at the hub, by which the server knows who it is; a
//! client that was killed gets another seat, and goes on where it knows to have been.

#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod client;
mod tenant;

use alloc::vec::Vec;

use abi::HubGeometry;
use programs::kv::SLOT_SIZE;
use programs::kv::load::{CLIENTS, Expected, HITS};
use programs::kv::server::Server;
use programs::{archive, expect};
use rt::hub::Host;
use rt::{Env, FOREVER, Region, println};
use tenant::Tenant;

rt::entry!(run);

/// Clients and steps of each, unless told otherwise and at most.
const FEW: [u32; 2] = [16, 40];
const MOST: [u32; 2] = [200, 10_000];
/// Slots of each ring: a client has one request at a time.
const SLOTS: u32 = 4;

fn run(env: &Env) -> u8 {
    if env.args().next() == Some("client") {
        return client::run(env);
    }
    let numbers = env.args().skip(1).map(|word| word.parse().ok());
    let Some(numbers) = numbers.collect::<Option<Vec<u32>>>() else {
        return usage();
    };
    let number = |index: usize| numbers.get(index).copied().unwrap_or(FEW[index]);
    let (clients, steps) = (number(0), number(1));
    if !(1..=MOST[0]).contains(&clients) || steps > MOST[1] || numbers.len() > 3 {
        return usage();
    }
    let initrd = Region::from_handle(env.handle(0));
    let image = expect!(archive::image(&initrd, "kv"), "kv: the program");
    let geometry = HubGeometry::slot(clients, SLOT_SIZE, SLOTS, SLOTS);
    let host = expect!(Host::create(&geometry), "kv: a hub");
    let mut random = fastrand::Rng::with_seed(numbers.get(2).copied().unwrap_or(1).into());
    let mut server = Server::new(clients as usize);
    let mut tenants: Vec<Tenant> = (0..clients as usize)
        .map(|number| Tenant::start(&host, image, number, steps, &mut random))
        .collect();
    while !tenants.iter().all(Tenant::is_done) {
        let peers = expect!(host.wait(FOREVER), "kv: waiting for clients");
        for peer in peers.iter() {
            let tenant = tenants.iter_mut().find(|tenant| tenant.sits_at(peer));
            if let Some(tenant) = tenant {
                tenant.attend(&host, &mut server, &mut random);
            }
        }
    }
    report(&tenants, &server, steps)
}

fn usage() -> u8 {
    println!(
        "kv: needs no arguments or numbers: kv [CLIENTS [STEPS [SEED]]], 1 to {} clients, at most {} steps each",
        MOST[0], MOST[1]
    );
    2
}

/// Compares what is there with what has to be, and prints it. The status of the program.
fn report(tenants: &[Tenant], server: &Server, steps: u32) -> u8 {
    println!("client  lives  requests  again  keys  bytes");
    let (mut wrong, mut killed, mut again, mut sums) = (0, 0, 0, [0; 2]);
    for (client, tenant) in tenants.iter().enumerate() {
        let counts = server.counts(client);
        println!(
            "{client:>6}  {:>5}  {:>8}  {:>5}  {:>4}  {:>5}",
            tenant.lives(),
            counts.done,
            counts.again,
            counts.keys,
            counts.bytes
        );
        let expected = Expected::after(client, steps);
        let is_there = |(key, value): (&_, &Vec<u8>)| {
            let key: &alloc::string::String = key;
            server.value(client, key.as_bytes()) == Some(value)
        };
        let right = counts.done == steps
            && counts.again < tenant.lives()
            && counts.keys == expected.values.len()
            && expected.values.iter().all(is_there);
        wrong += u32::from(!(right && tenant.succeeded()));
        killed += tenant.lives() - 1;
        again += counts.again;
        for (sum, key) in sums.iter_mut().zip([HITS, CLIENTS]) {
            *sum += expected.added.get(key).copied().unwrap_or(0);
        }
    }
    let agree = sums == [HITS, CLIENTS].map(|key| server.sum(key.as_bytes()));
    println!(
        "kv: {} requests, {killed} clients killed, {again} requests asked again; {}",
        tenants.len() as u64 * u64::from(steps),
        match (wrong, agree) {
            (0, true) => "every value and sum is right",
            (0, false) => "the sums are WRONG",
            _ => "values are WRONG",
        }
    );
    u8::from(wrong > 0 || !agree)
}
