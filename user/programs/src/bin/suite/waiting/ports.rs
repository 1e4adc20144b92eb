//! What ports tell, and what they refuse.

use alloc::vec::Vec;

use abi::limits::{MAX_BINDINGS, MAX_PACKETS};
use rt::{BindFlags, Error, Events, Handle, PortPacket, Thread, UserPtr, in_ms, sys};

use super::{notification, port, start};
use crate::Case;
use crate::calls::{cap_drop, small_ring};
use crate::check::SOON_MS;

pub fn many_objects(case: &Case) {
    let port = port();
    let notification = notification();
    let (producer, consumer) = small_ring();
    let sleeper = start(case, "waiting.sleep", &[]);
    let thread = done!(Thread::spawn(|| ()), "a thread");
    let bound = [
        (notification.handle(), Events::SIGNALED),
        (consumer, Events::PEER_CLOSED),
        (sleeper.handle(), Events::ENDED),
        (thread.handle(), Events::ENDED),
    ];
    for (key, (object, events)) in bound.into_iter().enumerate() {
        done!(port.bind(object, events, key as u64), "binding {key}");
    }
    let told = |key: usize, what: &str| {
        let packet = done!(port.next(in_ms(SOON_MS)), "waiting for {what}");
        let expected = (key as u64, bound[key].1.bits(), 1);
        same!(
            (packet.key, packet.events, packet.count),
            expected,
            "{what}"
        );
        done!(port.unbind(packet.key), "unbinding {what}");
    };
    told(3, "the end of a thread");
    done!(notification.signal(1), "a signal");
    told(0, "a signal");
    done!(cap_drop(producer), "dropping an end");
    told(1, "the end of a ring");
    done!(sleeper.kill(), "killing");
    told(2, "the end of a process");
    refused!(port.next(0), Error::WouldBlock, "another packet");
}

pub fn port_modes(_: &Case) {
    let port = port();
    let notification = notification();
    let object = notification.handle();
    let bind = |flags, key| {
        done!(
            port.bind_with(object, Events::SIGNALED, flags, key),
            "a binding"
        );
    };
    bind(BindFlags::empty(), 1);
    bind(BindFlags::EDGE, 2);
    bind(BindFlags::ONCE, 3);
    bind(BindFlags::EDGE | BindFlags::ONCE, 4);
    let keys = || {
        let mut packets = [PortPacket::default(); 8];
        match port.wait(&mut packets, 0) {
            Ok(packets) => {
                let mut keys: Vec<_> = packets.iter().map(|packet| packet.key).collect();
                keys.sort_unstable();
                keys
            }
            Err(error) => {
                same!(error, Error::WouldBlock, "waiting at the port");
                Vec::new()
            }
        }
    };
    same!(keys(), [], "before anything happens");
    done!(notification.signal(1), "a signal");
    same!(keys(), [1, 2, 3, 4], "the first time");
    same!(keys(), [1], "as long as it holds");
    done!(notification.signal(2), "a signal");
    same!(keys(), [1, 2], "the second time");
    same!(done!(notification.poll(), "polling"), 3, "bits");
    same!(keys(), [], "when it is over");
}

pub fn port_refused(_: &Case) {
    let port = port();
    let notification = notification();
    let object = notification.handle();
    let bind = |object, key| port.bind(object, Events::SIGNALED, key);
    refused!(
        bind(port.handle(), 1),
        Error::Unsupported,
        "a port at itself"
    );
    refused!(
        bind(super::port().handle(), 1),
        Error::Unsupported,
        "a port at a port"
    );
    refused!(bind(Handle::NONE, 1), Error::BadHandle, "nothing");
    done!(bind(object, 1), "a binding");
    refused!(bind(object, 1), Error::Exists, "a key that is taken");
    refused!(port.unbind(2), Error::NotFound, "a key that is not");
    let wait = |address, len| {
        let packets = UserPtr::new(address);
        // SAFETY: the addresses are no memory of this process.
        unsafe { sys::port_wait(port.handle(), packets, len, 0) }
    };
    refused!(wait(0, 0), Error::Invalid, "no room");
    done!(notification.signal(1), "a signal");
    for address in [0, 8, 1 << 63, u64::MAX - 7] {
        refused!(wait(address, MAX_PACKETS), Error::Fault, "a bad address");
    }
    let packet = done!(port.next(0), "what could not be delivered");
    same!(packet.key, 1, "its key");
    let mut last = 1;
    let refusal = loop {
        match bind(object, last + 1) {
            Ok(()) => last += 1,
            Err(error) => break error,
        }
    };
    same!(
        (refusal, last),
        (Error::Limit, MAX_BINDINGS as u64),
        "the last binding"
    );
    let mut told = 0;
    let mut packets = [PortPacket::default(); MAX_PACKETS as usize];
    for _ in 0..MAX_BINDINGS as u64 / MAX_PACKETS {
        told += done!(port.wait(&mut packets, 0), "packets").len();
    }
    same!(told, MAX_BINDINGS, "packets of a full port");
}
