//! Handover's rings. Where nobody sleeps they are asymmetric and poll, so that they pay no fence and look for no sleeper; those
//! that wake look for one all the same, as the ends of [`ring::linux`] do.

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::time::Duration;

use abi::ring::{DATA_OFFSET, Form, Geometry, Kind, SLOT_HEAD_BYTES};
use handover_bench::arena::Arena;
use handover_bench::contender::{Contender, HEAD_BYTES, Receiver, Seed, Sender, bytes_for};
use handover_bench::message::Sink;
use ring::linux::{Connection, Futex, Setup, deadline_in};
use ring::memory::{ConsumerMemory, Owner, ProducerMemory};
use ring::{Error, Polling, Wait, byte, slot};

/// A formatted ring, on its way to the ends that are going to use it.
#[derive(Clone, Copy)]
struct View {
    base: NonNull<u8>,
    geometry: Geometry,
}

// SAFETY: an address in shared memory means the same in every thread, and in a child that was forked.
unsafe impl Send for View {}

impl View {
    fn format(arena: &Arena, geometry: Geometry, form: Form) -> Self {
        let data = geometry.data_bytes() as usize;
        let base = match geometry.kind {
            Kind::Slot => arena.take(DATA_OFFSET + data),
            Kind::Byte | Kind::Packet => arena.take_mirrored(DATA_OFFSET, data),
        };
        // SAFETY: the arena gave zeroed pages to this ring alone, with the data twice where the kind wants that, for
        // longer than its ends live.
        let owner = unsafe { Owner::format(base, geometry, form, 0, 1) };
        owner.expect("a possible geometry");
        Self { base, geometry }
    }

    fn producer(self) -> ProducerMemory {
        // SAFETY: as above; of the two seeds that are made of a view, one takes this role.
        let memory = unsafe { ProducerMemory::from_raw(self.base, self.geometry) };
        memory.expect("it was formatted like this")
    }

    fn consumer(self) -> ConsumerMemory {
        // SAFETY: as above, and the other takes this one.
        let memory = unsafe { ConsumerMemory::from_raw(self.base, self.geometry) };
        memory.expect("it was formatted like this")
    }
}

/// An end of a ring of ours.
pub struct End<Inner>(Inner);

impl<Inner> From<Inner> for End<Inner> {
    fn from(end: Inner) -> Self {
        Self(end)
    }
}

/// Of an end that looks for a sleeper at each message, as one does whose peer may sleep, and that never finds one.
#[derive(Default)]
pub struct Watching;

impl Wait for Watching {
    fn wait(&self, _seen: u32, _deadline_ns: u64) -> Result<(), Error> {
        Err(Error::Unsupported)
    }

    fn wake(&self) {
        unreachable!("nobody sleeps");
    }
}

macro_rules! contender {
    ($(#[$documentation:meta])* $Name:ident, $kind:ident, $Wait:ident, $form:expr, $geometry:expr, $Receiver:ty) => {
        $(#[$documentation])*
        pub struct $Name;

        impl<const N: usize> Contender<N> for $Name {
            type Sender = End<ring::$kind::Producer<$Wait>>;
            type Receiver = $Receiver;

            fn open(arena: &Arena, slots: usize) -> (Seed<Self::Sender>, Seed<Self::Receiver>) {
                let geometry: fn(usize, usize) -> Geometry = $geometry;
                let view = View::format(arena, geometry(N, slots), $form);
                let sender = move || ring::$kind::Producer::attach(view.producer(), $Wait);
                let receiver = move || ring::$kind::Consumer::attach(view.consumer(), $Wait);
                (
                    Box::new(move || End(sender().expect("it was formatted like this"))),
                    Box::new(move || <$Receiver>::from(receiver().expect("it was formatted like this"))),
                )
            }
        }
    };
}

fn slots_for(bytes: usize, slots: usize) -> Geometry {
    let slot = (bytes + SLOT_HEAD_BYTES).next_multiple_of(64);
    Geometry::slot(slot as u32, slots as u32)
}

fn records_for(bytes: usize, slots: usize) -> Geometry {
    Geometry::packet(bytes_for(bytes, slots) as u32)
}

/// Values of one length have no heads.
fn values_for(bytes: usize, slots: usize) -> Geometry {
    Geometry::byte((slots * bytes) as u32)
}

contender! {
    /// SLOT, asymmetric.
    Slot, slot, Polling, Form::Asymmetric, slots_for, End<slot::Consumer<Polling>>
}
contender! {
    /// SLOT, whose ends look for sleepers.
    WatchingSlot, slot, Watching, Form::Asymmetric, slots_for, End<slot::Consumer<Watching>>
}
contender! {
    /// SLOT, symmetric: a fence at each publication.
    SymmetricSlot, slot, Watching, Form::Symmetric, slots_for, End<slot::Consumer<Watching>>
}
contender! {
    /// PACKET.
    Packet, packet, Polling, Form::Asymmetric, records_for, End<ring::packet::Consumer<Polling>>
}
contender! {
    /// PACKET, whose ends look for sleepers.
    WatchingPacket, packet, Watching, Form::Asymmetric, records_for, End<ring::packet::Consumer<Watching>>
}
contender! {
    /// BYTE, in pieces of one size.
    Byte, byte, Polling, Form::Asymmetric, values_for, ValueEnd<N, Polling>
}
contender! {
    /// BYTE, whose ends look for sleepers.
    WatchingByte, byte, Watching, Form::Asymmetric, values_for, ValueEnd<N, Watching>
}

impl<const N: usize, W: Wait> Sender<N> for End<slot::Producer<W>> {
    #[inline(always)]
    fn try_send(&mut self, message: &[u8; N]) -> bool {
        self.0.try_send(message).is_ok()
    }

    #[inline(always)]
    fn try_send_all(&mut self, messages: &[[u8; N]]) -> usize {
        let mut slices = [&[][..]; 32];
        let slices = &mut slices[..messages.len()];
        for (slice, message) in slices.iter_mut().zip(messages) {
            *slice = message;
        }
        self.0.send_batch(slices).unwrap_or(0)
    }
}

impl<const N: usize, W: Wait> Receiver<N> for End<slot::Consumer<W>> {
    #[inline(always)]
    fn try_receive(&mut self, sink: &mut Sink<N>) {
        if self.0.try_receive(sink.target()).is_ok() {
            sink.arrived();
        }
    }
}

impl<const N: usize, W: Wait> Sender<N> for End<ring::packet::Producer<W>> {
    #[inline(always)]
    fn try_send(&mut self, message: &[u8; N]) -> bool {
        self.0.try_send(0, message).is_ok()
    }

    #[inline(always)]
    fn try_send_all(&mut self, messages: &[[u8; N]]) -> usize {
        let messages = messages.iter().map(|message| (0, &message[..]));
        self.0.send_batch(messages).unwrap_or(0)
    }
}

impl<const N: usize, W: Wait> Receiver<N> for End<ring::packet::Consumer<W>> {
    #[inline(always)]
    fn try_receive(&mut self, sink: &mut Sink<N>) {
        if self.0.try_receive(sink.target()).is_ok() {
            sink.arrived();
        }
    }
}

impl<const N: usize, W: Wait> Sender<N> for End<byte::Producer<W>> {
    #[inline(always)]
    fn try_send(&mut self, message: &[u8; N]) -> bool {
        // The capacity is a multiple of what is written, so there is room for all of it or for nothing.
        self.0.try_write(message).is_ok()
    }

    #[inline(always)]
    fn try_send_all(&mut self, messages: &[[u8; N]]) -> usize {
        let written = self.0.try_write(messages.as_flattened());
        written.unwrap_or(0) / N
    }
}

/// The receiving end of a BYTE ring with the value that it received last, as one of a queue of one type gives it.
pub struct ValueEnd<const N: usize, W> {
    end: byte::Consumer<W>,
    value: [u8; N],
}

impl<const N: usize, W> From<byte::Consumer<W>> for ValueEnd<N, W> {
    fn from(end: byte::Consumer<W>) -> Self {
        Self { end, value: [0; N] }
    }
}

impl<const N: usize, W: Wait> Receiver<N> for ValueEnd<N, W> {
    #[inline(always)]
    fn try_receive(&mut self, sink: &mut Sink<N>) {
        if self.end.try_read(&mut self.value).is_ok() {
            sink.value(&self.value);
        }
    }
}

/// BYTE, taken in pieces of up to 32 messages.
pub struct ByteBatches;

/// The receiving end of [`ByteBatches`].
pub struct BatchEnd<const N: usize> {
    end: byte::Consumer<Polling>,
    messages: Box<[[u8; N]; 32]>,
}

impl<const N: usize> Contender<N> for ByteBatches {
    type Sender = End<byte::Producer<Polling>>;
    type Receiver = BatchEnd<N>;

    fn open(arena: &Arena, slots: usize) -> (Seed<Self::Sender>, Seed<Self::Receiver>) {
        let (sender, receiver) = <Byte as Contender<N>>::open(arena, slots);
        let receiver = move || BatchEnd {
            end: receiver().end,
            messages: Box::new([[0; N]; 32]),
        };
        (sender, Box::new(receiver))
    }
}

impl<const N: usize> Receiver<N> for BatchEnd<N> {
    #[inline(always)]
    fn try_receive(&mut self, sink: &mut Sink<N>) {
        let Ok(bytes) = self.end.try_read(self.messages.as_flattened_mut()) else {
            return;
        };
        for message in &self.messages[..bytes / N] {
            sink.value(message);
        }
    }
}

/// BYTE with frames of one's own: all that are there are taken, and given back together.
pub struct FramesBy<W>(PhantomData<W>);

/// Whose ends poll.
pub type ByteFrames = FramesBy<Polling>;
/// Whose ends look for sleepers.
pub type WatchingByteFrames = FramesBy<Watching>;

/// The sending end of [`FramesBy`].
pub struct FrameSender<W>(byte::Producer<W>);
/// The receiving end of [`FramesBy`].
pub struct FrameReceiver<W>(byte::Consumer<W>);

impl<const N: usize, W: Wait + Default + 'static> Contender<N> for FramesBy<W> {
    type Sender = FrameSender<W>;
    type Receiver = FrameReceiver<W>;

    fn open(arena: &Arena, slots: usize) -> (Seed<Self::Sender>, Seed<Self::Receiver>) {
        let geometry = Geometry::byte(bytes_for(N, slots) as u32);
        let view = View::format(arena, geometry, Form::Asymmetric);
        let sender = move || byte::Producer::attach(view.producer(), W::default());
        let receiver = move || byte::Consumer::attach(view.consumer(), W::default());
        (
            Box::new(move || FrameSender(sender().expect("it was formatted like this"))),
            Box::new(move || FrameReceiver(receiver().expect("it was formatted like this"))),
        )
    }
}

impl<const N: usize, W: Wait> Sender<N> for FrameSender<W> {
    #[inline(always)]
    fn try_send(&mut self, message: &[u8; N]) -> bool {
        let Ok(mut frame) = self.0.reserve(HEAD_BYTES + N) else {
            return false;
        };
        let bytes = frame.as_mut_slice();
        let (head, bytes) = bytes.split_at_mut(HEAD_BYTES);
        head.copy_from_slice(&(N as u64).to_ne_bytes());
        bytes.copy_from_slice(message);
        frame.commit(HEAD_BYTES + N).is_ok()
    }
}

impl<const N: usize, W: Wait> Receiver<N> for FrameReceiver<W> {
    #[inline(always)]
    fn try_receive(&mut self, sink: &mut Sink<N>) {
        let Ok(chunk) = self.0.peek(usize::MAX) else {
            return;
        };
        let (mut taken, mut head) = (0, [0; HEAD_BYTES]);
        while chunk.read(taken, &mut head).is_ok() {
            let length = u64::from_ne_bytes(head) as usize;
            let target = &mut sink.target()[..length];
            chunk
                .read(taken + HEAD_BYTES, target)
                .expect("frames are published whole");
            sink.arrived();
            taken += HEAD_BYTES + length;
        }
        chunk.release(taken).expect("it was peeked");
    }
}

/// SLOT between threads, whose ends sleep: a futex.
pub struct Sleeping;

/// The sending end of [`Sleeping`].
pub struct SleepingSender(slot::Producer<Futex>);
/// The receiving end of [`Sleeping`].
pub struct SleepingReceiver(slot::Consumer<Futex>);

/// SLOT with a fence at each publication, so that who goes to sleep need not interrupt the other CPU.
pub struct SleepingSymmetric;

fn sleeping(setup: Setup) -> (Seed<SleepingSender>, Seed<SleepingReceiver>) {
    let (sender, receiver) = setup.pair().expect("memory for a ring");
    let sender = move || SleepingSender(sender.slot().expect("it is a SLOT ring"));
    let receiver = move || SleepingReceiver(receiver.slot().expect("it is a SLOT ring"));
    (Box::new(sender), Box::new(receiver))
}

impl<const N: usize> Contender<N> for Sleeping {
    type Sender = SleepingSender;
    type Receiver = SleepingReceiver;

    fn open(_: &Arena, slots: usize) -> (Seed<Self::Sender>, Seed<Self::Receiver>) {
        sleeping(Setup::new(slots_for(N, slots)))
    }
}

impl<const N: usize> Contender<N> for SleepingSymmetric {
    type Sender = SleepingSender;
    type Receiver = SleepingReceiver;

    fn open(_: &Arena, slots: usize) -> (Seed<Self::Sender>, Seed<Self::Receiver>) {
        sleeping(Setup::new(slots_for(N, slots)).symmetric())
    }
}

/// The same between processes: each end is made in its own, over a socket.
pub struct SleepingApart;

/// The same with a fence at each publication.
pub struct SleepingSymmetricApart;

/// Longer than any handshake takes.
const SOON: Duration = Duration::from_secs(20);

fn sleeping_apart(setup: Setup) -> (Seed<SleepingSender>, Seed<SleepingReceiver>) {
    let (there, here) = Connection::pair().expect("the system gives sockets");
    let sender = move || {
        let end = setup.produce(there, deadline_in(SOON));
        let end = end.expect("the other end accepts");
        SleepingSender(end.slot().expect("it is a SLOT ring"))
    };
    let receiver = move || {
        let offer = here.offer(deadline_in(SOON)).expect("the other end offers");
        let end = offer.consume().expect("memory for a ring");
        SleepingReceiver(end.slot().expect("it is a SLOT ring"))
    };
    (Box::new(sender), Box::new(receiver))
}

impl<const N: usize> Contender<N> for SleepingApart {
    type Sender = SleepingSender;
    type Receiver = SleepingReceiver;

    fn open(_: &Arena, slots: usize) -> (Seed<Self::Sender>, Seed<Self::Receiver>) {
        sleeping_apart(Setup::new(slots_for(N, slots)))
    }
}

impl<const N: usize> Contender<N> for SleepingSymmetricApart {
    type Sender = SleepingSender;
    type Receiver = SleepingReceiver;

    fn open(_: &Arena, slots: usize) -> (Seed<Self::Sender>, Seed<Self::Receiver>) {
        sleeping_apart(Setup::new(slots_for(N, slots)).symmetric())
    }
}

impl<const N: usize> Sender<N> for SleepingSender {
    #[inline(always)]
    fn try_send(&mut self, message: &[u8; N]) -> bool {
        self.0.send(message, u64::MAX).is_ok()
    }
}

impl<const N: usize> Receiver<N> for SleepingReceiver {
    #[inline(always)]
    fn try_receive(&mut self, sink: &mut Sink<N>) {
        if self.0.receive(sink.target(), u64::MAX).is_ok() {
            sink.arrived();
        }
    }
}
