//! Tasks: futures that one thread runs by turns, and that sleep together at one port.
//!
//! ```ignore
//! let executor = rt::Executor::create()?;
//! let mut requests = executor.open_receiver::<ring::slot::Slot>(from)?;
//! let mut answers = executor.open_sender::<ring::slot::Slot>(to)?;
//! let served = executor.spawn(async move {
//!     let mut bytes = [0; 56];
//!     while let Ok(length) = requests.receive(&mut bytes).await {
//!         answers.send(&bytes[..length]).await?;
//!     }
//!     Ok::<(), ring::Error>(())
//! });
//! executor.run(served)?;
//! ```
//!
//! Tasks may be made, and woken, by any thread; the one that calls [`Executor::run`] runs them. The rings are symmetric: who
//! sleeps at a port brings no barrier for the peers of its rings.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use abi::ring::Form;
use abi::{BindFlags, Error, Events, FOREVER, Handle, PortPacket};
use async_task::Runnable;
pub use async_task::Task;
use ring::asynchronous::{Receiver, Sender, WaitAsTask};
use ring::{Close, Consumer, Producer, RingKind, Wait, sabotaged};

use crate::ring_end::{AtEnd, RingWait, consumer_memory, producer_memory, ring_info, to_abi};
use crate::{Mutex, Notification, Port, sys};

/// The key of the bell. Ends have their place in the list of wakers, and one more.
const BELL: u64 = 0;

/// Packets that are taken by one call.
const PACKETS: usize = 16;

/// Runs tasks in the thread that asks for it. All clones are the same one.
#[derive(Clone)]
pub struct Executor {
    shared: Arc<Shared>,
}

struct Shared {
    port: Port,
    /// Is signalled by other threads while the one that runs the tasks sleeps.
    bell: Notification,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Runnable>,
    /// The main future is to be polled.
    main_ready: bool,
    /// It sleeps at the port, or is about to.
    asleep: bool,
    wakers: Vec<Place>,
}

/// Whom an end has woken.
enum Place {
    Free,
    /// An end, and the task that waits there.
    Taken(Option<Waker>),
}

impl Executor {
    /// One without tasks.
    pub fn create() -> Result<Executor, Error> {
        let (port, bell) = (Port::create()?, Notification::create()?);
        port.bind(bell.handle(), Events::SIGNALED, BELL)?;
        Ok(Executor {
            shared: Arc::new(Shared {
                port,
                bell,
                state: Mutex::new(State::default()),
            }),
        })
    }

    /// Makes a task, which goes on whenever [`Executor::run`] is under way. Dropping the result cancels it; see
    /// [`Task::detach`].
    pub fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Task<T> {
        let shared = self.shared.clone();
        let schedule = move |task| shared.wake(|state| state.ready.push_back(task));
        let (runnable, task) = async_task::spawn(future, schedule);
        runnable.schedule();
        task
    }

    /// Runs tasks until a future is ready, and returns what it came to. One thread at a time.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let waker = Waker::from(Arc::new(Main(self.shared.clone())));
        let mut context = Context::from_waker(&waker);
        self.shared.state.lock().main_ready = true;
        loop {
            let (is_main, count) = {
                let mut state = self.shared.state.lock();
                (core::mem::take(&mut state.main_ready), state.ready.len())
            };
            if is_main && let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                return value;
            }
            // Those that are made ready meanwhile have their turn after the main future.
            for _ in 0..count {
                let next = self.shared.state.lock().ready.pop_front();
                if let Some(task) = next {
                    task.run();
                }
            }
            self.shared.look_at_port();
        }
    }

    /// Has tasks of this executor wait at the producing end of a symmetric ring. It can be opened once. As any end it can be
    /// closed and kept, and [handed on](crate::RingEnd::into_handle), by its [`into_end`](Sender::into_end).
    ///
    /// # Errors
    /// `Unsupported`: the ring is asymmetric or of another kind, or the end is another; as of [`Port::bind`] and
    /// [`open_sender`](crate::open_sender): the end is the caller's still.
    pub fn open_sender<K: RingKind>(&self, end: Handle) -> Result<Sender<K, TaskWait>, Error> {
        let (memory, wait) = self.wait_at(end, Events::WRITABLE, producer_memory::<K>)?;
        Ok(Sender::new(Producer::attach(memory, wait).map_err(to_abi)?))
    }

    /// The same at the consuming end.
    ///
    /// # Errors
    /// As [`Executor::open_sender`].
    pub fn open_receiver<K: RingKind>(&self, end: Handle) -> Result<Receiver<K, TaskWait>, Error> {
        let (memory, wait) = self.wait_at(end, Events::READABLE, consumer_memory::<K>)?;
        Ok(Receiver::new(
            Consumer::attach(memory, wait).map_err(to_abi)?,
        ))
    }

    /// Opens an end, and takes it over when nothing can be refused any more.
    fn wait_at<M>(
        &self,
        end: Handle,
        events: Events,
        open: impl FnOnce(Handle) -> Result<M, Error>,
    ) -> Result<(M, TaskWait), Error> {
        if ring_info(end)?.geometry.decode()?.form != Form::Symmetric {
            return Err(Error::Unsupported);
        }
        let shared = &self.shared;
        let place = shared.take_place();
        let events = events | Events::PEER_CLOSED;
        let bound = shared
            .port
            .bind_with(end, events, BindFlags::EDGE, key_of(place));
        let opened =
            bound.and_then(|()| open(end).inspect_err(|_| _ = shared.port.unbind(key_of(place))));
        let memory = opened.inspect_err(|_| shared.set_place(place, Place::Free))?;
        let bound = Bound {
            shared: shared.clone(),
            place,
        };
        let end = RingWait::of(end);
        let wait = TaskWait { bound, end };
        Ok((memory, wait))
    }
}

/// The key of the end that has a place.
fn key_of(place: usize) -> u64 {
    place as u64 + 1
}

impl Shared {
    /// Makes something ready, and ends the sleep of the thread that runs the tasks.
    fn wake(&self, make_ready: impl FnOnce(&mut State)) {
        let was_asleep = {
            let mut state = self.state.lock();
            make_ready(&mut state);
            core::mem::take(&mut state.asleep)
        };
        if was_asleep {
            // It fails only if the executor is gone.
            let _ = self.bell.signal(1);
        }
    }

    /// Wakes the tasks that the port tells of, and sleeps if nothing is ready.
    fn look_at_port(&self) {
        let deadline_ns = {
            let mut state = self.state.lock();
            let idle = state.ready.is_empty() && !state.main_ready;
            state.asleep = idle || sabotaged!("executor_sleeps_beside_tasks");
            match state.asleep {
                true => FOREVER,
                false => 0,
            }
        };
        let mut packets = [PortPacket::default(); PACKETS];
        let told = self.port.wait(&mut packets, deadline_ns).unwrap_or(&[]);
        self.state.lock().asleep = false;
        for packet in told {
            if packet.key == BELL {
                let _ = self.bell.poll();
                continue;
            }
            // Outside of the lock, which waking takes.
            let waker = match self.state.lock().wakers.get_mut(packet.key as usize - 1) {
                Some(Place::Taken(waker)) => waker.take(),
                _ => None,
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    fn take_place(&self) -> usize {
        let wakers = &mut self.state.lock().wakers;
        let free = wakers.iter().position(|place| matches!(place, Place::Free));
        let place = free.unwrap_or(wakers.len());
        match wakers.get_mut(place) {
            Some(free) => *free = Place::Taken(None),
            None => wakers.push(Place::Taken(None)),
        }
        place
    }

    fn set_place(&self, place: usize, value: Place) {
        let before = match self.state.lock().wakers.get_mut(place) {
            Some(place) => core::mem::replace(place, value),
            None => Place::Free,
        };
        // Outside of the lock: a waker may be the last to know its task, whose ends take it.
        drop(before);
    }
}

/// Wakes the future that [`Executor::run`] was given.
struct Main(Arc<Shared>);

impl Wake for Main {
    fn wake(self: Arc<Self>) {
        self.0.wake(|state| state.main_ready = true);
    }
}

/// Sleeps at an end of a ring, as a task of an executor or, with the blocking calls, as a thread. Dropping it closes the end in
/// order and gives it back.
pub struct TaskWait {
    /// Dropped before the end.
    bound: Bound,
    end: RingWait,
}

/// The place that an end has at an executor, which tells of the end as long as this lives.
struct Bound {
    shared: Arc<Shared>,
    place: usize,
}

impl Wait for TaskWait {
    fn wait(&self, seen: u32, deadline_ns: u64) -> Result<(), ring::Error> {
        self.end.wait(seen, deadline_ns)
    }

    fn wake(&self) {
        self.end.wake();
    }
}

impl Close for TaskWait {
    fn close(&self) -> Result<(), ring::Error> {
        Close::close(&self.end)
    }

    fn accuse(&self) -> Result<(), ring::Error> {
        self.end.accuse()
    }
}

impl AtEnd for TaskWait {
    fn handle(&self) -> Handle {
        self.end.handle()
    }

    fn into_handle(self) -> Handle {
        let TaskWait { bound, end } = self;
        drop(bound);
        end.into_handle()
    }
}

impl WaitAsTask for TaskWait {
    fn poll_wait(&self, seen: u32, context: &mut Context<'_>) -> Poll<Result<(), ring::Error>> {
        let waker = Place::Taken(Some(context.waker().clone()));
        self.bound.shared.set_place(self.bound.place, waker);
        // The port may have told of it while nobody was there to be woken.
        // SAFETY: the call touches no memory of this process.
        match unsafe { sys::ring_wait(self.end.handle(), seen, 0) } {
            Err(Error::WouldBlock) => Poll::Pending,
            _ if sabotaged!("task_waits_without_look") => Poll::Pending,
            over => Poll::Ready(crate::ring_end::ended(over, FOREVER)),
        }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = self.shared.port.unbind(key_of(self.place));
        self.shared.set_place(self.place, Place::Free);
    }
}
