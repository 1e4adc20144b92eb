//! A peer in another process: the socket between the two, and the thread that watches all such sockets.
//!
//! After the handshake the socket carries single bytes: that an end was closed in order, or because the other was faulty, or
//! that a task is to be woken.
//! That it hangs up without the first says that the peer is dead. Whatever else comes is a fault of the peer.

use std::boxed::Box;
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::Duration;
use std::vec::Vec;

use abi::ring::{End, EndState};
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, sockopt};

use super::link::Link;
use super::process::Process;

const CLOSED: u8 = b'c';
const FAULTY: u8 = b'f';
const WAKE: u8 = b'w';

/// Memory of the system for wakes that the peer has not heard. One that finds no room is not missed: those before it are
/// heard later than it was sent.
const WAKES_BYTES: usize = 16 * 1024;

/// How long the system is given to find memory.
const PAUSE: Duration = Duration::from_millis(1);

/// How an end is woken by a peer in another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Sleeper {
    /// It is a thread, which sleeps at the index.
    Thread = 1,
    /// It is a task of some executor, which is told over the socket.
    Task = 2,
}

impl Sleeper {
    pub(super) fn from_raw(raw: u32) -> Option<Self> {
        match raw {
            1 => Some(Self::Thread),
            2 => Some(Self::Task),
            _ => None,
        }
    }
}

/// The way to a peer in another process.
pub(super) struct Remote {
    socket: OwnedFd,
    link: Arc<Link>,
    /// The end that this process has.
    end: End,
    peer: Sleeper,
    watcher: &'static Watcher,
    key: u64,
}

impl Remote {
    /// Begins to watch a socket on behalf of the end that this process has.
    pub(super) fn watch(
        socket: OwnedFd,
        link: Arc<Link>,
        end: End,
        peer: Sleeper,
    ) -> io::Result<Arc<Self>> {
        let watcher = Watcher::get()?;
        let remote = {
            let mut watched = watcher.watched();
            let key = watched.next;
            watched.next += 1;
            let remote = Arc::new(Self {
                socket,
                link,
                end,
                peer,
                watcher,
                key,
            });
            watched.remotes.insert(key, Arc::downgrade(&remote));
            remote
        };
        let _ = sockopt::set_socket_send_buffer_size(&remote.socket, WAKES_BYTES);
        // What fails from here on is undone by the drop.
        epoll::add(
            &watcher.epoll,
            &remote.socket,
            epoll::EventData::new_u64(remote.key),
            epoll::EventFlags::IN | epoll::EventFlags::RDHUP,
        )?;
        Ok(remote)
    }

    /// Whether the peer is woken over the socket.
    pub(super) fn peer_is_a_task(&self) -> bool {
        self.peer == Sleeper::Task
    }

    pub(super) fn wake_task(&self) {
        self.send(WAKE);
    }

    /// Tells the peer how this end ended. Of one whose holder is gone, the socket tells.
    pub(super) fn tell(&self, state: EndState) {
        // However many wakes the peer has not heard yet, there is room for this.
        if !crate::sabotaged!("linux_no_room_for_last_words") {
            let _ = sockopt::set_socket_send_buffer_size(&self.socket, 2 * WAKES_BYTES);
        }
        match state {
            EndState::Draining => self.send(CLOSED),
            EndState::Poisoned => self.send(FAULTY),
            _ => {}
        }
    }

    /// Says nothing more, and hears nothing.
    pub(super) fn hang_up(&self) {
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
    }

    /// Never waits for the peer: one that does not read has been told enough, and one that is gone needs to be told nothing.
    fn send(&self, byte: u8) {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        while let Err(Errno::NOBUFS | Errno::NOMEM) =
            rustix::net::send(&self.socket, &[byte], flags)
        {
            // Nothing was queued, and nothing else may ever be.
            if crate::sabotaged!("linux_shortage_silences") {
                break;
            }
            thread::sleep(PAUSE);
        }
    }

    /// Takes one thing that the peer said. Whether there can be more.
    fn hear(&self) -> bool {
        let peer = self.end.peer();
        // Room for one byte and a second that does not belong there.
        let mut bytes = [0; 2];
        match rustix::net::recv(&self.socket, &mut bytes, RecvFlags::DONTWAIT) {
            Ok((1, 1)) if bytes[0] == WAKE => {
                self.link.ring_bell(self.end);
                true
            }
            Ok((1, 1)) if bytes[0] == CLOSED => {
                self.link.set_state(peer, EndState::Draining);
                true
            }
            // The peer has hung up without hearing everything, which is told once and before what it said last.
            Err(Errno::CONNRESET) if !crate::sabotaged!("linux_last_words_unheard") => true,
            Err(Errno::AGAIN | Errno::INTR) => true,
            // A system that is short of memory says nothing of the peer; what it said is there still.
            Err(Errno::NOBUFS | Errno::NOMEM) if !crate::sabotaged!("linux_shortage_is_death") => {
                thread::sleep(PAUSE);
                true
            }
            Ok((0, _)) | Err(_) if crate::sabotaged!("linux_death_unnoticed") => false,
            Ok((0, _)) | Err(_) => {
                self.link.set_state(peer, EndState::Closed);
                false
            }
            Ok(_) => {
                self.link.set_state(peer, EndState::Poisoned);
                false
            }
        }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // A child's copy is watched by nobody, and who watches the socket of its parent goes on.
        if !self.watcher.home.is_this() && !crate::sabotaged!("linux_child_ends_its_parents") {
            return;
        }
        self.watcher.watched().remotes.remove(&self.key);
        // Closing the socket is not enough: as long as anybody has a duplicate of it, it would be told of again and again.
        if !crate::sabotaged!("linux_duplicate_watched_on") {
            self.watcher.forget(&self.socket);
        }
    }
}

/// The thread that listens to all peers of a process.
struct Watcher {
    home: Process,
    epoll: OwnedFd,
    watched: Mutex<Watched>,
    /// That of a child of the process, as the child has it: threads are not inherited.
    in_child: OnceLock<Box<Watcher>>,
}

#[derive(Default)]
struct Watched {
    next: u64,
    remotes: HashMap<u64, Weak<Remote>>,
}

impl Watcher {
    /// The one of this process, which is started when it is first asked for.
    fn get() -> io::Result<&'static Self> {
        static FIRST: OnceLock<Box<Watcher>> = OnceLock::new();
        let mut place = &FIRST;
        loop {
            let watcher = match place.get() {
                Some(watcher) => watcher,
                None => Self::start(place)?,
            };
            if watcher.home.is_this() || crate::sabotaged!("linux_child_hears_nothing") {
                return Ok(watcher);
            }
            place = &watcher.in_child;
        }
    }

    /// Starts one, unless another thread is quicker. No lock is held while it starts: a child would inherit it as it is.
    fn start(place: &'static OnceLock<Box<Self>>) -> io::Result<&'static Self> {
        let made = Box::new(Self {
            home: Process::this()?,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            watched: Mutex::default(),
            in_child: OnceLock::new(),
        });
        let (hands_over, taken) = mpsc::channel::<&'static Self>();
        thread::Builder::new()
            .name("ring watcher".into())
            .spawn(move || {
                if let Ok(watcher) = taken.recv() {
                    watcher.listen();
                }
            })?;
        let mut is_first = false;
        let watcher = place.get_or_init(|| {
            is_first = true;
            made
        });
        // The thread of who comes second ends.
        if is_first {
            let _ = hands_over.send(watcher);
        }
        Ok(watcher)
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears no more of a socket, if it was watched.
    fn forget(&self, socket: &OwnedFd) {
        let _ = epoll::delete(&self.epoll, socket);
    }

    fn listen(&self) {
        let mut events = Vec::with_capacity(64);
        loop {
            events.clear();
            let buffer = rustix::buffer::spare_capacity(&mut events);
            if epoll::wait(&self.epoll, buffer, None).is_err() {
                // Only a signal can be the reason.
                continue;
            }
            for event in &events {
                let epoll::Event { data, .. } = *event;
                let remote = self
                    .watched()
                    .remotes
                    .get(&data.u64())
                    .and_then(Weak::upgrade);
                if let Some(remote) = remote
                    && !remote.hear()
                    && !crate::sabotaged!("linux_dead_listened_to")
                {
                    self.forget(&remote.socket);
                }
            }
        }
    }
}
