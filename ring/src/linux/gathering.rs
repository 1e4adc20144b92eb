//! One thread that sleeps at many rings.

use core::sync::atomic::{AtomicU32, Ordering};
use core::task::Waker;
use std::sync::Arc;
use std::task::Wake;

use rustix::io::Errno;
use rustix::thread::futex::WaitFlags;

use super::link;
use crate::{Error, Gather};

/// Where the consumer of many rings sleeps ([`crate::mpsc::Receiver`]): ends that
/// [join](super::ConsumerEnd::gathered_at) it wake it, whichever of their peers does. Peers in other processes have to know
/// ([`Offer::for_tasks`](super::Offer::for_tasks)); `examples/gather.rs` has some.
///
/// ```
/// use ring::linux::{Gathering, Geometry, pair};
/// use ring::mpsc::{Next, Receiver};
///
/// let gathering = Gathering::new();
/// let mut receiver = Receiver::new([const { None }; 4], gathering.clone())?;
/// for name in ["one", "two"] {
///     let (producer, consumer) = pair(Geometry::packet(4096))?;
///     receiver.join(consumer.gathered_at(&gathering)?.packet()?).map_err(|(_, error)| error)?;
///     let mut producer = producer.packet()?;
///     std::thread::spawn(move || producer.send(0, name.as_bytes(), u64::MAX));
/// }
/// let mut bytes = [0; 64];
/// let mut names = Vec::new();
/// while receiver.members() > 0 {
///     match receiver.next(u64::MAX) {
///         Ok(Next::Ready { consumer, .. }) => {
///             let (_, length) = consumer.try_receive(&mut bytes)?;
///             names.push(String::from_utf8_lossy(&bytes[..length]).into_owned());
///         }
///         Ok(Next::Ended { why, .. }) => assert_eq!(why, ring::Error::PeerClosed),
///         // Woken for what was received already.
///         Err(ring::Error::Empty) => {}
///         Err(error) => return Err(error.into()),
///     }
/// }
/// names.sort();
/// assert_eq!(names, ["one", "two"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Gathering(Arc<Bell>);

#[derive(Debug, Default)]
struct Bell {
    rung: AtomicU32,
}

impl Gathering {
    /// One that nobody has joined.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn waker(&self) -> Waker {
        self.0.clone().into()
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // SYNC(linux.gathering): what was published before is seen by who finds the bell rung.
        if self.rung.swap(1, Ordering::AcqRel) == 0 {
            link::wake_private(&self.rung);
        }
    }
}

impl Gather for Gathering {
    fn wait(&self, deadline_ns: u64) -> Result<(), Error> {
        let bell = &self.0.rung;
        loop {
            // SYNC(linux.gathering)
            if bell.swap(0, Ordering::AcqRel) != 0 {
                let over = super::now_ns() >= deadline_ns;
                if !over || crate::sabotaged!("linux_bell_outlasts_deadline") {
                    return Ok(());
                }
                // A bell that rings all the time keeps nobody beyond the deadline. What it rang for is left to the next wait.
                bell.store(1, Ordering::Release);
                return Err(Error::TimedOut);
            }
            let flags = WaitFlags::SIZE_U32 | WaitFlags::PRIVATE;
            match link::sleep([(bell, 0, flags)], deadline_ns) {
                Ok(()) | Err(Errno::AGAIN) => {}
                Err(Errno::INTR) => return Ok(()),
                Err(Errno::TIMEDOUT) => return Err(Error::TimedOut),
                Err(_) => return Err(Error::Unsupported),
            }
        }
    }

    fn barrier(&self) -> Result<(), Error> {
        link::barrier()
    }
}
