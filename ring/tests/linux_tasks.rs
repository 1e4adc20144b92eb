//! Rings on Linux between tasks, in one process and in two, on an executor that knows nothing of rings.
#![cfg(all(feature = "std", target_os = "linux", not(loom)))]

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use futures::executor::block_on;
use futures::future::{join, join_all};
use ring::Error;
use ring::asynchronous::{Receiver, Sender};
use ring::linux::{
    Connection, ConsumerEnd, Futex, Geometry, ProducerEnd, Setup, deadline_in, pair,
};
use ring::slot::Slot;

const MESSAGES: u64 = 20_000;

fn soon() -> u64 {
    deadline_in(Duration::from_secs(30))
}

fn slots(
    (producer, consumer): (ProducerEnd, ConsumerEnd),
) -> (Sender<Slot, Futex>, Receiver<Slot, Futex>) {
    (
        Sender::new(producer.slot().unwrap()),
        Receiver::new(consumer.slot().unwrap()),
    )
}

/// Both ends of a ring between two connected sockets, as two processes have them.
fn connected(
    ours: impl FnOnce(Connection) -> ProducerEnd + Send,
    theirs: impl FnOnce(Connection) -> ConsumerEnd + Send,
) -> (ProducerEnd, ConsumerEnd) {
    let (one, other) = Connection::pair().unwrap();
    thread::scope(|scope| {
        let consumer = scope.spawn(|| theirs(other));
        (ours(one), consumer.join().unwrap())
    })
}

async fn send_all(mut sender: Sender<Slot, Futex>) {
    for number in 0..MESSAGES {
        sender.send(&number.to_le_bytes()).await.unwrap();
    }
}

async fn receive_all(mut receiver: Receiver<Slot, Futex>) {
    let mut bytes = [0; 8];
    for number in 0..MESSAGES {
        assert_eq!(receiver.receive(&mut bytes).await, Ok(8));
        assert_eq!(u64::from_le_bytes(bytes), number);
    }
    assert_eq!(receiver.receive(&mut bytes).await, Err(Error::PeerClosed));
}

#[test]
fn tasks_of_one_thread_pass_everything_in_order() {
    for setup in [
        Setup::new(Geometry::slot(64, 4)),
        Setup::new(Geometry::slot(64, 1)).symmetric(),
    ] {
        let (sender, receiver) = slots(setup.pair().unwrap());
        block_on(join(send_all(sender), receive_all(receiver)));
    }
}

#[test]
fn tasks_of_two_threads_pass_everything_in_order() {
    let (sender, receiver) = slots(pair(Geometry::slot(64, 4)).unwrap());
    thread::scope(|scope| {
        scope.spawn(|| block_on(send_all(sender)));
        block_on(receive_all(receiver));
    });
}

#[test]
fn tasks_and_threads_of_two_processes_pass_everything_in_order() {
    let geometry = Geometry::slot(64, 4);
    let setup = Setup::new(geometry);
    // Both are tasks.
    let ends = connected(
        |one| setup.for_tasks().produce(one, soon()).unwrap(),
        |other| other.offer(soon()).unwrap().for_tasks().consume().unwrap(),
    );
    let (sender, receiver) = slots(ends);
    thread::scope(|scope| {
        scope.spawn(|| block_on(send_all(sender)));
        block_on(receive_all(receiver));
    });
    // One of them is a thread.
    let (producer, consumer) = connected(
        |one| setup.produce(one, soon()).unwrap(),
        |other| other.offer(soon()).unwrap().for_tasks().consume().unwrap(),
    );
    let mut producer = producer.slot().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..MESSAGES {
                producer.send(&number.to_le_bytes(), soon()).unwrap();
            }
        });
        block_on(receive_all(Receiver::new(consumer.slot().unwrap())));
    });
}

#[test]
fn packets_and_bytes_pass_between_tasks() {
    let (producer, consumer) = pair(Geometry::packet(4096)).unwrap();
    let mut sender = Sender::new(producer.packet().unwrap());
    let mut receiver = Receiver::new(consumer.packet().unwrap());
    let sends = async {
        for number in 0..2_000_u32 {
            let bytes = vec![number as u8; (number % 1500) as usize];
            sender.send(number & 0xff, &bytes).await.unwrap();
        }
        assert_eq!(sender.send(0, &[0; 5000]).await, Err(Error::TooLarge));
        sender.ready(4).await.unwrap();
        sender.end().reserve(4).unwrap().commit(7);
    };
    let receives = async {
        let mut bytes = [0; 1500];
        for number in 0..2_000_u32 {
            let (tag, length) = receiver.receive(&mut bytes).await.unwrap();
            assert_eq!((tag, length), (number & 0xff, (number % 1500) as usize));
            assert!(bytes[..length].iter().all(|byte| *byte == number as u8));
        }
        receiver.ready().await.unwrap();
        let message = receiver.end().peek().unwrap();
        assert_eq!((message.tag(), message.len()), (7, 4));
        message.release();
    };
    block_on(join(sends, receives));

    let (producer, consumer) = pair(Geometry::byte(4096)).unwrap();
    let mut sender = Sender::new(producer.byte().unwrap());
    let mut receiver = Receiver::new(consumer.byte().unwrap());
    let text: Vec<u8> = (0..50_000_u32).map(|number| number as u8).collect();
    let (sent, received) = block_on(join(sender.write_all(&text), async {
        let mut all = vec![0; 50_000];
        receiver.read_exact(&mut all).await.map(|()| all)
    }));
    sent.unwrap();
    assert_eq!(received.unwrap(), text);
}

#[test]
fn many_tasks_wait_at_once_and_each_is_woken_for_its_own() {
    let rings: Vec<_> = (0..100)
        .map(|_| slots(pair(Geometry::slot(64, 2)).unwrap()))
        .collect();
    let (senders, receivers): (Vec<_>, Vec<_>) = rings.into_iter().unzip();
    thread::scope(|scope| {
        scope.spawn(|| {
            for (number, mut sender) in senders.into_iter().enumerate().rev() {
                let sent = sender.end().send(&number.to_le_bytes(), soon());
                assert_eq!(sent, Ok(()));
            }
        });
        let received = block_on(join_all(receivers.into_iter().map(async |mut receiver| {
            let mut bytes = [0; 8];
            receiver.receive(&mut bytes).await.unwrap();
            usize::from_le_bytes(bytes)
        })));
        assert_eq!(received, (0..100).collect::<Vec<_>>());
    });
}

/// A waker that counts.
struct Count(AtomicU32);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn counting() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count(AtomicU32::new(0)));
    (count.clone(), count.into())
}

#[test]
fn a_future_that_is_dropped_has_received_nothing_and_asks_for_nobody_to_be_woken() {
    let (mut sender, mut receiver) = slots(pair(Geometry::slot(64, 2)).unwrap());
    let (count, waker) = counting();
    let mut bytes = [0; 56];
    {
        let mut receive = pin!(receiver.receive(&mut bytes));
        let mut context = Context::from_waker(&waker);
        assert_eq!(receive.as_mut().poll(&mut context), Poll::Pending);
    }
    sender.end().try_send(b"kept").unwrap();
    assert_eq!(count.0.load(Ordering::Relaxed), 0);
    assert_eq!(block_on(receiver.receive(&mut bytes)), Ok(4));
    // The same with a sender that waits for room.
    sender.end().try_send(b"1").unwrap();
    sender.end().try_send(b"2").unwrap();
    {
        let mut send = pin!(sender.send(b"3"));
        let mut context = Context::from_waker(&waker);
        assert_eq!(send.as_mut().poll(&mut context), Poll::Pending);
    }
    assert_eq!(receiver.end().try_receive(&mut bytes), Ok(1));
    assert_eq!(receiver.end().try_receive(&mut bytes), Ok(1));
    assert_eq!(receiver.end().try_receive(&mut bytes), Err(Error::Empty));
    assert_eq!(count.0.load(Ordering::Relaxed), 0);
}

#[test]
fn a_task_is_woken_once_for_what_it_waits_for_and_for_the_end_of_its_peer() {
    let (mut sender, mut receiver) = slots(pair(Geometry::slot(64, 4)).unwrap());
    let (count, waker) = counting();
    let mut context = Context::from_waker(&waker);
    let mut bytes = [0; 56];
    {
        let mut receive = pin!(receiver.receive(&mut bytes));
        assert_eq!(receive.as_mut().poll(&mut context), Poll::Pending);
        for _ in 0..3 {
            sender.end().try_send(b"word").unwrap();
        }
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert_eq!(receive.as_mut().poll(&mut context), Poll::Ready(Ok(4)));
    }
    for _ in 0..2 {
        assert_eq!(block_on(receiver.receive(&mut bytes)), Ok(4));
    }
    let mut receive = pin!(receiver.receive(&mut bytes));
    assert_eq!(receive.as_mut().poll(&mut context), Poll::Pending);
    drop(sender);
    assert_eq!(count.0.load(Ordering::Relaxed), 2);
    assert_eq!(
        receive.as_mut().poll(&mut context),
        Poll::Ready(Err(Error::PeerClosed))
    );
}

#[test]
fn a_task_that_wants_bytes_in_a_row_is_ready_once_there_is_room_for_all() {
    let (producer, consumer) = pair(Geometry::byte(4096)).unwrap();
    let mut sender = Sender::new(producer.byte().unwrap());
    let mut receiver = consumer.byte().unwrap();
    let (count, waker) = counting();
    let mut context = Context::from_waker(&waker);
    assert_eq!(sender.end().try_write(&[7; 4096]), Ok(4096));
    {
        let mut ready = pin!(sender.ready(3000));
        for (read, woken) in [(2000, 0), (999, 0), (1, 1)] {
            assert_eq!(ready.as_mut().poll(&mut context), Poll::Pending);
            assert_eq!(receiver.try_read(&mut [0; 2000][..read]), Ok(read));
            assert_eq!(count.0.load(Ordering::Relaxed), woken);
        }
        assert_eq!(ready.as_mut().poll(&mut context), Poll::Ready(Ok(())));
    }
    sender.end().reserve(3000).unwrap().commit(3000).unwrap();
    assert_eq!(block_on(sender.ready(4097)), Err(Error::TooLarge));
    assert_eq!(block_on(sender.ready(0)), Ok(()));
}

#[test]
fn a_thread_that_waits_after_a_task_is_woken_itself() {
    let (mut sender, mut receiver) = slots(pair(Geometry::slot(64, 4)).unwrap());
    let (_count, waker) = counting();
    let mut bytes = [0; 56];
    {
        let mut receive = pin!(receiver.receive(&mut bytes));
        let mut context = Context::from_waker(&waker);
        assert_eq!(receive.as_mut().poll(&mut context), Poll::Pending);
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(20));
            sender.end().try_send(b"now").unwrap();
        });
        let begun = std::time::Instant::now();
        assert_eq!(receiver.end().receive(&mut bytes, soon()), Ok(3));
        assert!(
            begun.elapsed() < Duration::from_secs(29),
            "it was woken by its deadline"
        );
    });
}

#[test]
fn a_cancelled_task_says_so() {
    let (_producer, consumer) = pair(Geometry::slot(64, 4)).unwrap();
    let canceller = consumer.canceller();
    let mut receiver = Receiver::new(consumer.slot().unwrap());
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(20));
            canceller.cancel();
        });
        let mut bytes = [0; 56];
        assert_eq!(
            block_on(receiver.receive(&mut bytes)),
            Err(Error::Cancelled)
        );
    });
}

#[test]
fn a_peer_that_was_not_told_of_tasks_is_not_waited_for_by_one() {
    let setup = Setup::new(Geometry::slot(64, 4));
    let (_producer, consumer) = connected(
        |one| setup.produce(one, soon()).unwrap(),
        |other| other.offer(soon()).unwrap().consume().unwrap(),
    );
    let mut receiver = Receiver::new(consumer.slot().unwrap());
    let mut bytes = [0; 56];
    assert_eq!(
        block_on(receiver.receive(&mut bytes)),
        Err(Error::Unsupported)
    );
}

/// A waker of an executor that is out of order.
struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        // Without a message: the hook that prints it is not what is tested.
        std::panic::resume_unwind(Box::new(()));
    }
}

#[test]
fn a_waker_that_panics_harms_nobody_else() {
    let setup = Setup::new(Geometry::slot(64, 4)).for_tasks();
    let between_processes = || {
        slots(connected(
            |one| setup.produce(one, soon()).unwrap(),
            |other| other.offer(soon()).unwrap().for_tasks().consume().unwrap(),
        ))
    };
    let waker = Waker::from(Arc::new(Panics));
    let mut context = Context::from_waker(&waker);
    let mut bytes = [0; 56];
    // The peer, in this process: it has sent.
    {
        let (mut sender, mut receiver) = slots(setup.pair().unwrap());
        let mut receive = pin!(receiver.receive(&mut bytes));
        assert!(receive.as_mut().poll(&mut context).is_pending());
        sender.end().try_send(b"now").unwrap();
        assert_eq!(receive.poll(&mut context), Poll::Ready(Ok(3)));
    }
    // The thread that listens: whatever it is told later it hears.
    for _ in 0..2 {
        let (sender, mut receiver) = between_processes();
        assert!(
            pin!(receiver.receive(&mut bytes))
                .poll(&mut context)
                .is_pending()
        );
        drop(sender);
        let answer = receiver.end().receive(&mut [0; 56], soon());
        assert_eq!(answer, Err(Error::PeerClosed));
    }
}
