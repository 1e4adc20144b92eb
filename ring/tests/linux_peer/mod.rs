//! What a hostile peer on Linux has at hand: honest messages to spoil, files, and a bare socket.
#![allow(dead_code, reason = "each test program uses its part")]

use std::io::{IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use abi::ring::PAGE_BYTES;
use ring::linux::{Connection, End, Geometry, deadline_in};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

pub const GEOMETRY: Geometry = Geometry::slot(64, 8);
pub const OFFER: u32 = u32::from_le_bytes(*b"HOro");
pub const DUPLEX: u32 = u32::from_le_bytes(*b"HOrd");
pub const ANSWER: u32 = u32::from_le_bytes(*b"HOra");

/// How long a test waits for what has to come.
pub const SOON: Duration = Duration::from_secs(30);

pub fn soon() -> u64 {
    deadline_in(SOON)
}

pub fn shortly() -> u64 {
    deadline_in(Duration::from_millis(20))
}

/// An honest message, to be spoilt.
pub fn message(first: u32, end: End) -> [u32; 16] {
    let mut words = [0; 16];
    words[..10].copy_from_slice(&[
        first,
        1,
        GEOMETRY.kind as u32,
        1,
        GEOMETRY.slot_size,
        GEOMETRY.capacity,
        0,
        1,
        end as u32,
        1,
    ]);
    words
}

pub fn bytes_of(words: &[u32; 16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

pub fn file_bytes(end: End) -> u64 {
    match end {
        End::Producer => PAGE_BYTES as u64 + GEOMETRY.data_bytes(),
        End::Consumer => PAGE_BYTES as u64,
    }
}

/// A file in memory as an honest end makes it, but for the seals.
pub fn unsealed(bytes: u64) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = rustix::fs::memfd_create("hostile", flags).unwrap();
    let mut file = std::fs::File::from(file);
    file.write_all(&vec![0; bytes as usize]).unwrap();
    file.into()
}

pub fn sealed(bytes: u64, seals: SealFlags) -> OwnedFd {
    let file = unsealed(bytes);
    rustix::fs::fcntl_add_seals(&file, seals).unwrap();
    file
}

pub const ALL_SEALS: SealFlags = SealFlags::SHRINK
    .union(SealFlags::GROW)
    .union(SealFlags::FUTURE_WRITE);

pub fn send(socket: &Connection, bytes: &[u8], files: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(32))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() {
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(files)));
    }
    let slices = [IoSlice::new(bytes)];
    rustix::net::sendmsg(socket, &slices, &mut ancillary, SendFlags::NOSIGNAL).unwrap();
}

pub fn receive(socket: &Connection) -> (Vec<u8>, Option<OwnedFd>) {
    let (bytes, files) = receive_all(socket);
    (bytes, files.into_iter().next())
}

pub fn receive_all(socket: &Connection) -> (Vec<u8>, Vec<OwnedFd>) {
    let mut bytes = [0; 128];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let count = rustix::net::recvmsg(socket, &mut slices, &mut ancillary, flags)
        .unwrap()
        .bytes;
    let mut files = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            files.extend(received);
        }
    }
    (bytes[..count].to_vec(), files)
}
