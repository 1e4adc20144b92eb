//! All ways of a row that pass values have room for as many, and all that carry bytes for as many bytes.

#[allow(dead_code, reason = "a part of the ways is looked at")]
#[path = "../benches/rings/ours.rs"]
mod ours;
#[allow(dead_code, reason = "as above")]
#[path = "../benches/rings/peers/mod.rs"]
mod peers;

use std::num::NonZeroUsize;

use handover_bench::arena::Arena;
use handover_bench::contender::{Contender, HEAD_BYTES, Sender, bytes_for};
use peers::{bbqueue, framed, typed};

/// How many messages are sent before there is no room for one more.
fn room<C: Contender<N>, const N: usize>(slots: usize) -> usize {
    let arena = Arena::new(NonZeroUsize::new(1 << 20).unwrap()).unwrap();
    let (sender, receiver) = C::open(&arena, slots);
    let (mut sender, _receiver) = (sender(), receiver());
    (0..).take_while(|_| sender.try_send(&[0; N])).count()
}

fn ways_of_messages_are_equal<const N: usize>(slots: usize) {
    assert_eq!(room::<ours::Slot, N>(slots), slots);
    let bytes = bytes_for(N, slots);
    let of_bytes = [
        // Long messages of PACKET begin at a multiple of 64.
        (
            room::<ours::Packet, N>(slots),
            if N < 256 { HEAD_BYTES } else { 64 },
        ),
        (room::<ours::ByteFrames, N>(slots), HEAD_BYTES),
        (room::<bbqueue::Framed, N>(slots), size_of::<u16>()),
        (room::<bbqueue::Drained, N>(slots), HEAD_BYTES),
        (room::<framed::Rtrb, N>(slots), HEAD_BYTES),
    ];
    for (number, (messages, head)) in of_bytes.into_iter().enumerate() {
        assert!(messages + 1 >= slots, "way {number} of {N} bytes");
        // The last may find no place.
        let full = bytes / (N + head);
        assert!(
            (full - 1..=full).contains(&messages),
            "way {number} of {N} bytes: {messages} of {full}"
        );
    }
}

#[test]
fn ways_of_messages_have_room_for_as_many_bytes() {
    ways_of_messages_are_equal::<8>(1024);
    ways_of_messages_are_equal::<64>(1024);
    ways_of_messages_are_equal::<1024>(128);
    ways_of_messages_are_equal::<8192>(32);
}

fn ways_of_values_are_equal<const N: usize, const SLOTS: usize>() {
    let ways = [
        room::<ours::Slot, N>(SLOTS),
        room::<ours::Byte, N>(SLOTS),
        room::<typed::Rtrb, N>(SLOTS),
        room::<typed::RtrbChunks, N>(SLOTS),
        room::<typed::Ringbuf, N>(SLOTS),
        room::<typed::StaticRingbuf<SLOTS>, N>(SLOTS),
        room::<typed::Crossbeam, N>(SLOTS),
        room::<typed::Mpsc, N>(SLOTS),
        // It leaves one place empty.
        room::<typed::Heapless<SLOTS>, N>(SLOTS) + 1,
    ];
    assert_eq!(ways, [SLOTS; 9], "values of {N} bytes");
}

#[test]
fn ways_of_values_have_room_for_as_many() {
    ways_of_values_are_equal::<8, 1024>();
    ways_of_values_are_equal::<64, 1024>();
    ways_of_values_are_equal::<1024, 128>();
    ways_of_values_are_equal::<8192, 32>();
}
