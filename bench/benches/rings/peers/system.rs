//! The kernel's own ways. Their ends sleep while there is nothing to do.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use handover_bench::arena::Arena;
use handover_bench::contender::{Contender, Receiver, Seed, Sender};
use handover_bench::message::Sink;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

/// One end of a pipe or a socket.
pub struct End(File);

fn ends(sender: OwnedFd, receiver: OwnedFd) -> (Seed<End>, Seed<End>) {
    (
        Box::new(|| End(sender.into())),
        Box::new(|| End(receiver.into())),
    )
}

impl<const N: usize> Sender<N> for End {
    #[inline(always)]
    fn try_send(&mut self, message: &[u8; N]) -> bool {
        self.0.write_all(message).is_ok()
    }
}

impl<const N: usize> Receiver<N> for End {
    #[inline(always)]
    fn try_receive(&mut self, sink: &mut Sink<N>) {
        if self.0.read_exact(sink.target()).is_ok() {
            sink.arrived();
        }
    }
}

/// A pipe.
pub struct Pipe;

impl<const N: usize> Contender<N> for Pipe {
    type Sender = End;
    type Receiver = End;

    fn open(_: &Arena, _: usize) -> (Seed<End>, Seed<End>) {
        let (receiver, sender) = nix::unistd::pipe().expect("the system gives a pipe");
        ends(sender, receiver)
    }
}

fn sockets(kind: SockType) -> (Seed<End>, Seed<End>) {
    let pair = socketpair(AddressFamily::Unix, kind, None, SockFlag::empty());
    let (sender, receiver) = pair.expect("the system gives sockets");
    ends(sender, receiver)
}

/// A Unix socket of bytes.
pub struct UnixStream;

impl<const N: usize> Contender<N> for UnixStream {
    type Sender = End;
    type Receiver = End;

    fn open(_: &Arena, _: usize) -> (Seed<End>, Seed<End>) {
        sockets(SockType::Stream)
    }
}

/// A Unix socket of messages.
pub struct UnixSeqpacket;

impl<const N: usize> Contender<N> for UnixSeqpacket {
    type Sender = End;
    type Receiver = End;

    fn open(_: &Arena, _: usize) -> (Seed<End>, Seed<End>) {
        sockets(SockType::SeqPacket)
    }
}

/// An eventfd, which carries no message: who is woken knows its number.
pub struct Event;

/// An end of [`Event`].
pub struct EventEnd(EventFd);

impl Contender<8> for Event {
    type Sender = EventEnd;
    type Receiver = EventEnd;

    fn open(_: &Arena, _: usize) -> (Seed<EventEnd>, Seed<EventEnd>) {
        let event = EventFd::from_flags(EfdFlags::EFD_SEMAPHORE).expect("the system gives one");
        let other = nix::unistd::dup(&event).expect("there is room for another");
        // SAFETY: it was made by duplicating an eventfd.
        let other = unsafe { EventFd::from_owned_fd(other) };
        (Box::new(|| EventEnd(event)), Box::new(|| EventEnd(other)))
    }
}

impl Sender<8> for EventEnd {
    #[inline(always)]
    fn try_send(&mut self, _: &[u8; 8]) -> bool {
        self.0.write(1).is_ok()
    }
}

impl Receiver<8> for EventEnd {
    #[inline(always)]
    fn try_receive(&mut self, sink: &mut Sink<8>) {
        if self.0.read().is_ok() {
            let number = sink.count();
            sink.value(&number.to_ne_bytes());
        }
    }
}
