//! The rows: who takes part in what.

use handover_bench::beside::Place;
use handover_bench::contender::Contender;
use handover_bench::figure::{Entry, Row, Run, Side};
use handover_bench::measure::{Batch, WakePart};

use crate::ours;
#[cfg(feature = "iceoryx2")]
use crate::peers::iceoryx2;
use crate::peers::{bbqueue, framed, system, typed};

/// How a contender is measured in a row.
trait Way {
    fn run<C: Contender<N>, const N: usize>(batch: Batch<'_>) -> Option<f64>;
}

struct Throughput;
impl Way for Throughput {
    fn run<C: Contender<N>, const N: usize>(batch: Batch<'_>) -> Option<f64> {
        batch.throughput::<C, N>()
    }
}

struct OneThread;
impl Way for OneThread {
    fn run<C: Contender<N>, const N: usize>(batch: Batch<'_>) -> Option<f64> {
        batch.one_thread::<C, N>()
    }
}

struct RoundTrip;
impl Way for RoundTrip {
    fn run<C: Contender<N>, const N: usize>(batch: Batch<'_>) -> Option<f64> {
        batch.round_trip::<C, N>()
    }
}

struct SleepingRoundTrip;
impl Way for SleepingRoundTrip {
    fn run<C: Contender<N>, const N: usize>(batch: Batch<'_>) -> Option<f64> {
        batch.sleeping_round_trip::<C, N>()
    }
}

struct Batches;
impl Way for Batches {
    fn run<C: Contender<N>, const N: usize>(batch: Batch<'_>) -> Option<f64> {
        batch.batches::<C, N, 32>()
    }
}

struct WakeLatency;
impl Way for WakeLatency {
    fn run<C: Contender<N>, const N: usize>(batch: Batch<'_>) -> Option<f64> {
        batch.wake::<C, N>(WakePart::Latency)
    }
}

struct WakeCost;
impl Way for WakeCost {
    fn run<C: Contender<N>, const N: usize>(batch: Batch<'_>) -> Option<f64> {
        batch.wake::<C, N>(WakePart::Sender)
    }
}

fn entry<W: Way, C: Contender<N>, const N: usize>(name: &'static str, side: Side) -> Entry {
    let run: Run = W::run::<C, N>;
    Entry { name, side, run }
}

fn peer<W: Way, C: Contender<N>, const N: usize>(name: &'static str) -> Entry {
    entry::<W, C, N>(name, Side::Peer)
}

fn of_ours<W: Way, C: Contender<N>, const N: usize>(name: &'static str, at_most: f64) -> Entry {
    entry::<W, C, N>(name, Side::Ours(at_most))
}

fn row(key: String, place: Place, slots: usize, entries: Vec<Entry>) -> Row {
    Row {
        key,
        place,
        slots,
        count: None,
        entries,
    }
}

/// Messages of any length; through a stream of bytes, in frames of one's own.
fn messages<const N: usize>(place: Place, slots: usize, at_most: [f64; 2]) -> Row {
    let [slot, of_bytes] = at_most;
    let mut entries = vec![
        of_ours::<Throughput, ours::Slot, N>("SLOT", slot),
        of_ours::<Throughput, ours::Packet, N>("PACKET", of_bytes),
        of_ours::<Throughput, ours::ByteFrames, N>("BYTE", of_bytes),
        of_ours::<Throughput, ours::WatchingSlot, N>("SLOT that wakes", slot),
        of_ours::<Throughput, ours::WatchingPacket, N>("PACKET that wakes", of_bytes),
        of_ours::<Throughput, ours::WatchingByteFrames, N>("BYTE that wakes", of_bytes),
        peer::<Throughput, bbqueue::Framed, N>("bbqueue framed"),
        peer::<Throughput, bbqueue::Drained, N>("bbqueue drained"),
    ];
    if place == Place::Threads {
        entries.push(peer::<Throughput, framed::Rtrb, N>("rtrb chunks"));
    }
    #[cfg(feature = "iceoryx2")]
    entries.push(match place {
        Place::Threads => peer::<Throughput, iceoryx2::Slices<iceoryx2::Local>, N>("iceoryx2"),
        Place::Processes => peer::<Throughput, iceoryx2::Slices<iceoryx2::Shared>, N>("iceoryx2"),
    });
    system_ways::<Throughput, N>(&mut entries);
    row(
        format!("messages/{}/{N}", name(place)),
        place,
        slots,
        entries,
    )
}

fn name(place: Place) -> &'static str {
    match place {
        Place::Threads => "threads",
        Place::Processes => "processes",
    }
}

fn system_ways<W: Way, const N: usize>(entries: &mut Vec<Entry>) {
    entries.push(peer::<W, system::Pipe, N>("pipe"));
    entries.push(peer::<W, system::UnixStream, N>("Unix stream"));
    entries.push(peer::<W, system::UnixSeqpacket, N>("Unix seqpacket"));
}

/// Queues of one type, which need no length, between threads.
fn typed_threads<W: Way, const N: usize, const SLOTS: usize>(entries: &mut Vec<Entry>) {
    entries.push(peer::<W, typed::Rtrb, N>("rtrb"));
    entries.push(peer::<W, typed::RtrbChunks, N>("rtrb chunks"));
    entries.push(peer::<W, typed::Ringbuf, N>("ringbuf"));
    entries.push(peer::<W, typed::Heapless<SLOTS>, N>("heapless"));
    entries.push(peer::<W, typed::Crossbeam, N>("crossbeam-queue"));
    entries.push(peer::<W, typed::Mpsc, N>("std mpsc"));
    #[cfg(feature = "iceoryx2")]
    entries.push(peer::<W, iceoryx2::Values<iceoryx2::Local>, N>("iceoryx2"));
}

fn values<const N: usize, const SLOTS: usize>(at_most: f64) -> Row {
    let mut entries = vec![
        of_ours::<Throughput, ours::Slot, N>("SLOT", at_most),
        of_ours::<Throughput, ours::Byte, N>("BYTE", at_most),
        of_ours::<Throughput, ours::WatchingSlot, N>("SLOT that wakes", at_most),
        of_ours::<Throughput, ours::WatchingByte, N>("BYTE that wakes", at_most),
    ];
    typed_threads::<Throughput, N, SLOTS>(&mut entries);
    row(
        format!("values/threads/{N}"),
        Place::Threads,
        SLOTS,
        entries,
    )
}

fn shared_values<const N: usize, const SLOTS: usize>(at_most: f64) -> Row {
    let entries = vec![
        of_ours::<Throughput, ours::Slot, N>("SLOT", at_most),
        of_ours::<Throughput, ours::Byte, N>("BYTE", at_most),
        of_ours::<Throughput, ours::WatchingSlot, N>("SLOT that wakes", at_most),
        of_ours::<Throughput, ours::WatchingByte, N>("BYTE that wakes", at_most),
        peer::<Throughput, typed::Heapless<SLOTS>, N>("heapless"),
        peer::<Throughput, typed::StaticRingbuf<SLOTS>, N>("ringbuf"),
        #[cfg(feature = "iceoryx2")]
        peer::<Throughput, iceoryx2::Values<iceoryx2::Shared>, N>("iceoryx2"),
    ];
    row(
        format!("values/processes/{N}"),
        Place::Processes,
        SLOTS,
        entries,
    )
}

fn one_thread<const N: usize, const SLOTS: usize>(at_most: f64) -> Row {
    let mut entries = vec![
        of_ours::<OneThread, ours::Slot, N>("SLOT", at_most),
        of_ours::<OneThread, ours::Packet, N>("PACKET", at_most),
        of_ours::<OneThread, ours::Byte, N>("BYTE", at_most),
        of_ours::<OneThread, ours::WatchingSlot, N>("SLOT that wakes", at_most),
        of_ours::<OneThread, ours::WatchingPacket, N>("PACKET that wakes", at_most),
        of_ours::<OneThread, ours::WatchingByte, N>("BYTE that wakes", at_most),
        of_ours::<OneThread, ours::SymmetricSlot, N>("SLOT with fences", at_most),
        peer::<OneThread, bbqueue::Framed, N>("bbqueue framed"),
        peer::<OneThread, bbqueue::Drained, N>("bbqueue drained"),
        peer::<OneThread, framed::Rtrb, N>("rtrb chunks of bytes"),
    ];
    typed_threads::<OneThread, N, SLOTS>(&mut entries);
    row(format!("one_thread/{N}"), Place::Threads, SLOTS, entries)
}

fn spinning<const N: usize, const SLOTS: usize>(at_most: f64) -> Row {
    let mut entries = vec![
        of_ours::<RoundTrip, ours::Slot, N>("SLOT", at_most),
        of_ours::<RoundTrip, ours::Packet, N>("PACKET", at_most),
        of_ours::<RoundTrip, ours::WatchingSlot, N>("SLOT that wakes", at_most),
        of_ours::<RoundTrip, ours::WatchingPacket, N>("PACKET that wakes", at_most),
        peer::<RoundTrip, bbqueue::Framed, N>("bbqueue framed"),
        peer::<RoundTrip, framed::Rtrb, N>("rtrb chunks of bytes"),
    ];
    typed_threads::<RoundTrip, N, SLOTS>(&mut entries);
    row(
        format!("spinning/threads/{N}"),
        Place::Threads,
        SLOTS,
        entries,
    )
}

fn spinning_processes<const N: usize, const SLOTS: usize>(at_most: f64) -> Row {
    let entries = vec![
        of_ours::<RoundTrip, ours::Slot, N>("SLOT", at_most),
        of_ours::<RoundTrip, ours::Packet, N>("PACKET", at_most),
        of_ours::<RoundTrip, ours::WatchingSlot, N>("SLOT that wakes", at_most),
        of_ours::<RoundTrip, ours::WatchingPacket, N>("PACKET that wakes", at_most),
        peer::<RoundTrip, bbqueue::Framed, N>("bbqueue framed"),
        peer::<RoundTrip, typed::Heapless<SLOTS>, N>("heapless"),
        peer::<RoundTrip, typed::StaticRingbuf<SLOTS>, N>("ringbuf"),
        #[cfg(feature = "iceoryx2")]
        peer::<RoundTrip, iceoryx2::Values<iceoryx2::Shared>, N>("iceoryx2"),
    ];
    let place = Place::Processes;
    row(format!("spinning/processes/{N}"), place, SLOTS, entries)
}

fn sleeping<W: Way>(key: &str, place: Place, at_most: f64) -> Row {
    let mut entries = match place {
        Place::Threads => vec![
            of_ours::<W, ours::Sleeping, 8>("SLOT", at_most),
            of_ours::<W, ours::SleepingSymmetric, 8>("SLOT with fences", at_most),
            peer::<W, typed::SleepingMpsc, 8>("std mpsc"),
            #[cfg(feature = "iceoryx2")]
            peer::<W, iceoryx2::Events<iceoryx2::Local>, 8>("iceoryx2 events"),
        ],
        Place::Processes => vec![
            of_ours::<W, ours::SleepingApart, 8>("SLOT", at_most),
            of_ours::<W, ours::SleepingSymmetricApart, 8>("SLOT with fences", at_most),
            #[cfg(feature = "iceoryx2")]
            peer::<W, iceoryx2::Events<iceoryx2::Shared>, 8>("iceoryx2 events"),
        ],
    };
    entries.push(peer::<W, system::Event, 8>("eventfd"));
    system_ways::<W, 8>(&mut entries);
    let key = format!("{key}/{}", name(place));
    Row {
        count: Some(64),
        ..row(key, place, 64, entries)
    }
}

fn batches() -> Row {
    let entries = vec![
        of_ours::<Batches, ours::Slot, 8>("SLOT", 1.0),
        of_ours::<Batches, ours::Packet, 8>("PACKET", 1.0),
        of_ours::<Batches, ours::ByteBatches, 8>("BYTE", 1.0),
        peer::<Batches, typed::RtrbChunks, 8>("rtrb chunks"),
        peer::<Batches, typed::Ringbuf, 8>("ringbuf"),
        peer::<Batches, bbqueue::Drained, 8>("bbqueue drained"),
    ];
    row(
        "batches_of_32/threads/8".into(),
        Place::Threads,
        1024,
        entries,
    )
}

/// What instructions are counted of: one after the other through a way, in one thread.
pub fn counted() -> Row {
    Row {
        key: "instructions/8".into(),
        ..one_thread::<8, 1024>(0.65)
    }
}

/// All rows, with the ratios of the design as limits.
pub fn all() -> Vec<Row> {
    let both = [Place::Threads, Place::Processes];
    let mut rows = vec![
        one_thread::<8, 1024>(0.88),
        one_thread::<64, 1024>(0.90),
        one_thread::<1024, 128>(1.74),
        messages::<8>(Place::Threads, 1024, [0.72, 0.83]),
        messages::<64>(Place::Threads, 1024, [0.79, 0.82]),
        messages::<1024>(Place::Threads, 128, [0.75, 0.74]),
        messages::<8192>(Place::Threads, 32, [0.99, 0.81]),
        messages::<8>(Place::Processes, 1024, [0.86, 0.86]),
        messages::<64>(Place::Processes, 1024, [0.68, 0.68]),
        messages::<1024>(Place::Processes, 128, [0.91, 0.91]),
        messages::<8192>(Place::Processes, 32, [0.80, 0.80]),
        values::<8, 1024>(0.96),
        values::<64, 1024>(0.96),
        values::<1024, 128>(0.96),
        values::<8192, 32>(0.96),
        shared_values::<8, 1024>(0.86),
        shared_values::<64, 1024>(0.68),
        shared_values::<1024, 128>(0.91),
        shared_values::<8192, 32>(0.80),
        batches(),
        spinning::<8, 1024>(1.0),
        spinning::<1024, 128>(0.94),
        spinning_processes::<8, 1024>(1.0),
        spinning_processes::<1024, 128>(0.94),
    ];
    rows.extend(both.map(|place| sleeping::<SleepingRoundTrip>("sleeping", place, 1.0)));
    rows.extend(both.map(|place| sleeping::<WakeLatency>("wake_latency", place, 1.04)));
    rows.extend(both.map(|place| sleeping::<WakeCost>("wake_cost", place, 1.05)));
    rows
}
