//! Hubs whose rings carry packets, or streams of bytes.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use rt::hub::{ByteGuest, Guest, Host, HubGeometry, LinkKind, LinkOf, PacketGuest, PeerState};
use rt::{Env, Error, FOREVER, Mode, to_abi};

use super::{ALL, guest};
use crate::Case;
use crate::check::{SOON_MS, succeeds, wait};

/// Bytes of each ring.
const RING: u32 = 4096;
/// Bytes of the stream: several rings of them.
const STREAM: usize = 5 * RING as usize + 77;
/// Lengths of packets: short ones, and the longest.
const LENGTHS: [usize; 6] = [
    0,
    1,
    7,
    250,
    1000,
    abi::ring::packet::max_payload(RING) as usize,
];

fn bytes_of(number: usize, len: usize) -> Vec<u8> {
    let byte = |at: usize| (at.wrapping_mul(5) ^ at >> 7 ^ number) as u8;
    (0..len).map(byte).collect()
}

/// Waits until the host is told of something, or of nothing soon.
fn told(host: &Host) {
    done!(host.wait(rt::in_ms(SOON_MS)), "waiting for the guest");
}

fn link<K: LinkKind>(host: &Host) -> LinkOf<K> {
    while done!(host.standing(1), "the guest").state != PeerState::Attached {
        told(host);
    }
    done!(host.connect_of(1, 0), "connecting")
}

/// Tries until there is something, and sleeps for all guests in between; `None`: the guest is gone.
fn next<T>(host: &Host, mut receive: impl FnMut() -> Result<T, ring::Error>) -> Option<T> {
    loop {
        match receive() {
            Ok(found) => return Some(found),
            Err(ring::Error::Empty) => told(host),
            Err(ring::Error::PeerClosed | ring::Error::PeerDied | ring::Error::Revoked) => {
                return None;
            }
            Err(error) => done!(Err(error), "receiving"),
        }
    }
}

pub fn kinds(case: &Case) {
    let host = done!(Host::create(&HubGeometry::packet(1, RING, RING)), "a hub");
    let child = guest(&host, case.child("hub_packets"));
    let mut packets = link::<ring::packet::Packet>(&host);
    let mut bytes = vec![0; RING as usize];
    let mut count = 0;
    while let Some((tag, len)) = next(&host, || packets.receiver.try_receive(&mut bytes)) {
        count += 1;
        let soon = rt::in_ms(SOON_MS);
        done!(packets.sender.send(tag, &bytes[..len], soon), "an answer");
    }
    same!(count, LENGTHS.len(), "packets");
    succeeds(&child);
    done!(host.recover(packets), "recovering the seat");

    let host = done!(Host::create(&HubGeometry::byte(1, RING, RING)), "a hub");
    let child = guest(&host, case.child("hub_stream"));
    let mut stream = link::<ring::byte::Byte>(&host);
    let mut heard = Vec::new();
    while heard.len() < STREAM {
        let len = next(&host, || stream.receiver.try_read(&mut bytes));
        heard.extend_from_slice(&bytes[..len.unwrap_or(0)]);
        check!(len.is_some(), "the guest was gone after {}", heard.len());
    }
    check!(heard == bytes_of(1, STREAM), "another stream came");
    let answered = stream.sender.write_all(&heard, rt::in_ms(SOON_MS));
    done!(answered.map_err(|stopped| stopped.error), "the answer");
    succeeds(&child);
    // What nobody has read goes with the seat.
    let recovered = done!(host.recover(stream), "recovering the seat");
    same!(recovered.drained.messages, 1, "what was left in the ring");

    // Who asks for another kind than the hub has gets nothing.
    let host = super::host(1);
    let (member, seat) = done!(host.reserve(), "a seat");
    let other = case.child("hub_other").arg(&seat.epoch.to_string());
    let child = done!(other.handle(member, Mode::Move, ALL).start(), "a guest");
    succeeds(&child);
    let connected = host.connect_of::<ring::packet::Packet>(1, seat.epoch);
    refused!(connected.map(drop), Error::Unsupported, "another kind");
    done!(host.recover_seat(seat), "recovering the seat");
    let _ = wait(&child);
}

/// The roles of children here.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    let epoch = || crate::number(env, 0) as u32;
    match role {
        "hub_packets" => {
            let guest = PacketGuest::claim(env.handle(0), epoch());
            let mut guest = done!(guest, "claiming a seat");
            let mut answer = vec![0; RING as usize];
            for (tag, len) in LENGTHS.into_iter().enumerate() {
                let sent = bytes_of(tag, len);
                done!(guest.send(tag as u32, &sent, FOREVER), "packet {tag}");
                let answered = done!(guest.receive(&mut answer, FOREVER), "its answer");
                same!(answered, (tag as u32, len), "the tag and the length");
                check!(answer[..len] == sent[..], "the bytes of {tag}");
            }
        }
        "hub_stream" => {
            let mut guest = done!(ByteGuest::claim(env.handle(0), epoch()), "claiming a seat");
            let sent = bytes_of(1, STREAM);
            let written = guest.write_all(&sent, FOREVER);
            done!(written.map_err(|stopped| stopped.error), "writing");
            let mut answer = vec![0; STREAM];
            let read = guest.read_exact(&mut answer, FOREVER);
            done!(read.map_err(|stopped| stopped.error), "reading");
            check!(answer == sent, "another stream came back");
            let left = guest.send_by(|sender| sender.try_write(b"left"));
            same!(left.map_err(to_abi), Ok(4), "a last word");
        }
        "hub_other" => {
            let guest = PacketGuest::claim(env.handle(0), epoch());
            refused!(guest.map(drop), Error::Unsupported, "another kind");
            let guest = Guest::claim(env.handle(0), epoch());
            check!(guest.is_err(), "the seat was given back");
        }
        _ => return None,
    }
    Some(0)
}
