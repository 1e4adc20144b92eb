//! Two processes find each other, over a Unix socket or one that was inherited.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::vec::Vec;

use abi::ring::{End, Form, Geometry};
use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, UCred};

use super::ends::{ConsumerEnd, ProducerEnd};
use super::handshake::{self, Step, Terms};
use super::link::{self, Link, Unused};
use super::memory::{self, Half};
use super::remote::{Remote, Sleeper};
use super::setup::Setup;
use super::{Error, Fault};

/// Waits for processes that want a ring, at a path.
///
/// Who may connect is who may write the socket's file. Dropping it leaves the file behind.
#[derive(Debug)]
pub struct Listener(OwnedFd);

impl Listener {
    /// Makes a socket at `path`, where nothing may be yet.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn bind(path: impl AsRef<Path>) -> Result<Self, Error> {
        // Whoever is faster than this thread may have accepted what it was told of, and then it must not stay in the system.
        let flags = match crate::sabotaged!("linux_listener_blocks") {
            true => SocketFlags::empty(),
            false => SocketFlags::NONBLOCK,
        };
        let socket = socket(flags)?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(path.as_ref())?)?;
        rustix::net::listen(&socket, 128)?;
        Ok(Self(socket))
    }

    /// The next process that connects before `deadline_ns`.
    ///
    /// # Errors
    /// [`Error::TimedOut`], [`Error::System`].
    pub fn accept(&self, deadline_ns: u64) -> Result<Connection, Error> {
        loop {
            handshake::wait_readable(&self.0, deadline_ns)?;
            match rustix::net::accept_with(&self.0, SocketFlags::CLOEXEC) {
                Ok(socket) => return Ok(Connection(socket)),
                // Whoever it was has gone, or another thread has accepted it.
                Err(Errno::AGAIN | Errno::CONNABORTED | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A way to another process over which one ring is made, or a duplex of two.
#[derive(Debug)]
pub struct Connection(OwnedFd);

impl Connection {
    /// Connects to a [`Listener`], and waits for as long as too many others do.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::connect_by(path, u64::MAX)
    }

    /// Connects to a [`Listener`]. If so many wait there already that there is no room for one more, it waits until
    /// `deadline_ns`.
    ///
    /// # Errors
    /// [`Error::TimedOut`], [`Error::System`].
    pub fn connect_by(path: impl AsRef<Path>, deadline_ns: u64) -> Result<Self, Error> {
        let address = SocketAddrUnix::new(path.as_ref())?;
        let socket = socket(SocketFlags::empty())?;
        let limit = |left| sockopt::set_socket_timeout(&socket, Timeout::Send, left);
        loop {
            if deadline_ns != u64::MAX && !crate::sabotaged!("linux_connect_without_deadline") {
                let left = Duration::from_nanos(deadline_ns.saturating_sub(super::now_ns()));
                // Nothing at all would be no limit.
                limit(Some(left.max(Duration::from_micros(1))))?;
            }
            match rustix::net::connect(&socket, &address) {
                Ok(()) => break,
                Err(Errno::AGAIN) if super::now_ns() >= deadline_ns => {
                    return Err(Error::TimedOut);
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        limit(None)?;
        Ok(Self(socket))
    }

    /// Two connected ones, of which one is to be inherited by a child or passed on.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn pair() -> Result<(Self, Self), Error> {
        let flags = SocketFlags::CLOEXEC;
        let (one, other) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok((Self(one), Self(other)))
    }

    /// Takes over a Unix socket that keeps the bounds of messages.
    ///
    /// # Errors
    /// [`Error::System`]: it is something else.
    pub fn from_socket(socket: OwnedFd) -> Result<Self, Error> {
        let is_unix = sockopt::socket_domain(&socket)? == AddressFamily::UNIX;
        let keeps_bounds = sockopt::socket_type(&socket)? == SocketType::SEQPACKET;
        if !is_unix || !keeps_bounds {
            return Err(Errno::PROTOTYPE.into());
        }
        Ok(Self(socket))
    }

    /// User, group and process of the peer, as the system knew them when it connected.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn peer(&self) -> Result<Peer, Error> {
        let UCred { pid, uid, gid } = sockopt::socket_peercred(&self.0)?;
        Ok(Peer {
            process: pid.as_raw_nonzero().get(),
            user: uid.as_raw(),
            group: gid.as_raw(),
        })
    }

    /// Offers a ring in which this process sends, and waits until the peer has answered.
    ///
    /// # Errors
    /// As [`Setup::produce`].
    pub fn produce(self, geometry: Geometry, deadline_ns: u64) -> Result<ProducerEnd, Error> {
        Setup::new(geometry).produce(self, deadline_ns)
    }

    /// Offers a ring in which this process receives, and waits until the peer has answered.
    ///
    /// # Errors
    /// As [`Setup::consume`].
    pub fn consume(self, geometry: Geometry, deadline_ns: u64) -> Result<ConsumerEnd, Error> {
        Setup::new(geometry).consume(self, deadline_ns)
    }

    /// Waits for what the peer offers.
    ///
    /// # Errors
    /// [`Error::TimedOut`], [`Error::PeerClosed`], [`Error::PeerFault`], [`Error::System`].
    pub fn offer(self, deadline_ns: u64) -> Result<Offer, Error> {
        let (terms, [file]) = handshake::receive(&self.0, Step::Offer, deadline_ns)?;
        Offer::new(self, terms, file)
    }

    /// Waits for the offer of a duplex, which brings the way that the other direction is offered over.
    pub(super) fn offers(self, deadline_ns: u64) -> Result<[Offer; 2], Error> {
        let (terms, [file, socket]) = handshake::receive(&self.0, Step::Duplex, deadline_ns)?;
        let back = match crate::sabotaged!("linux_way_back_not_checked") {
            true => Self(socket),
            false => Self::from_socket(socket).map_err(|_| Fault::NotASocket)?,
        };
        Ok([Offer::new(self, terms, file)?, back.offer(deadline_ns)?])
    }

    pub(super) fn negotiate(self, terms: Terms, deadline_ns: u64) -> Result<Unused, Error> {
        Proposal::send(self, Step::Offer, terms, None)?.settle(deadline_ns)
    }

    /// Offers two rings, of which the second gets a way of its own, and waits for the answers to both.
    pub(super) fn negotiate_both(
        self,
        terms: [Terms; 2],
        deadline_ns: u64,
    ) -> Result<[Unused; 2], Error> {
        let (back, passed) = Self::pair()?;
        let there = Proposal::send(self, Step::Duplex, terms[0], Some(passed.as_fd()))?;
        let back = Proposal::send(back, Step::Offer, terms[1], None)?;
        // The peer has it now. As long as it is here, too, nobody would notice that the peer is gone.
        drop(passed);
        Ok([there.settle(deadline_ns)?, back.settle(deadline_ns)?])
    }
}

/// An offer that was sent.
struct Proposal {
    connection: Connection,
    terms: Terms,
    own: Own,
}

impl Proposal {
    fn send(
        connection: Connection,
        step: Step,
        terms: Terms,
        passed: Option<BorrowedFd<'_>>,
    ) -> Result<Self, Error> {
        link::check_system()?;
        let own = Own::create(&terms)?;
        let files: Vec<_> = [own.file.as_fd()].into_iter().chain(passed).collect();
        handshake::send(&connection.0, step, &terms, &files)?;
        Ok(Self {
            connection,
            terms,
            own,
        })
    }

    /// Waits for the answer, and takes it.
    fn settle(self, deadline_ns: u64) -> Result<Unused, Error> {
        let Self {
            connection,
            terms,
            own,
        } = self;
        let (answer, [file]) = handshake::receive(&connection.0, Step::Answer, deadline_ns)?;
        terms.check_answer(&answer)?;
        memory::check_file(&file, answer.geometry, answer.end)?;
        let terms = Terms {
            form: answer.form,
            ..terms
        };
        own.meet(connection.0, &terms, &file, answer.sleeper)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Connection> for OwnedFd {
    fn from(connection: Connection) -> Self {
        connection.0
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its process id.
    pub process: i32,
    /// The user that it runs as.
    pub user: u32,
    /// The group that it runs as.
    pub group: u32,
}

/// A ring that a peer offers. Nothing of it is mapped yet, and dropping it declines.
#[derive(Debug)]
pub struct Offer {
    connection: Connection,
    terms: Terms,
    file: OwnedFd,
    form: Form,
    sleeper: Sleeper,
}

impl Offer {
    fn new(connection: Connection, terms: Terms, file: OwnedFd) -> Result<Self, Error> {
        memory::check_file(&file, terms.geometry, terms.end)?;
        Ok(Self {
            connection,
            terms,
            file,
            form: Form::Asymmetric,
            sleeper: Sleeper::Thread,
        })
    }

    /// Kind and size. Look at it before you accept: who becomes the producer provides memory for the data.
    pub fn geometry(&self) -> Geometry {
        self.terms.geometry
    }

    /// The end that is left for this process.
    pub fn end(&self) -> End {
        self.terms.end.peer()
    }

    /// User, group and process of the peer.
    ///
    /// # Errors
    /// As [`Connection::peer`].
    pub fn peer(&self) -> Result<Peer, Error> {
        self.connection.peer()
    }

    /// Has both sides execute a fence at each publication, as [`Setup::symmetric`].
    #[must_use]
    pub fn symmetric(self) -> Self {
        Self {
            form: Form::Symmetric,
            ..self
        }
    }

    /// Lets this process wait with futures, or for many rings at once, as [`Setup::for_tasks`].
    #[must_use]
    pub fn for_tasks(self) -> Self {
        Self {
            sleeper: Sleeper::Task,
            ..self
        }
    }

    /// Accepts, and sends.
    ///
    /// # Errors
    /// [`Error::SameEnd`]: the peer wants to send, too. [`Error::PeerFault`], [`Error::System`].
    pub fn produce(self) -> Result<ProducerEnd, Error> {
        self.accept(End::Producer).map(ProducerEnd::new)
    }

    /// Accepts, and receives.
    ///
    /// # Errors
    /// [`Error::SameEnd`]: the peer wants to receive, too. [`Error::PeerFault`], [`Error::System`].
    pub fn consume(self) -> Result<ConsumerEnd, Error> {
        self.accept(End::Consumer).map(ConsumerEnd::new)
    }

    fn accept(self, end: End) -> Result<Unused, Error> {
        if end != self.end() {
            return Err(Error::SameEnd);
        }
        link::check_system()?;
        let both = self.terms.form == Form::Asymmetric && self.form == Form::Asymmetric;
        let form = match both && link::register_for_barriers() {
            true => Form::Asymmetric,
            false => Form::Symmetric,
        };
        let terms = Terms {
            form,
            end,
            sleeper: self.sleeper,
            ..self.terms
        };
        let own = Own::create(&terms)?;
        let files = [own.file.as_fd()];
        handshake::send(&self.connection.0, Step::Answer, &terms, &files)?;
        own.meet(self.connection.0, &terms, &self.file, self.terms.sleeper)
    }
}

/// The pages of this process, filled, mapped and sealed.
struct Own {
    file: OwnedFd,
    half: Half,
}

impl Own {
    fn create(terms: &Terms) -> Result<Self, Error> {
        let file = memory::create_file(terms.geometry, terms.end)?;
        let half = Half::new(terms.geometry, terms.end, terms.start, &file)?;
        // Nothing can be mapped for writing from here on, neither here nor there.
        memory::seal(&file)?;
        Ok(Self { file, half })
    }

    /// Adds the pages of the peer, and watches the socket from now on.
    fn meet(
        self,
        socket: OwnedFd,
        terms: &Terms,
        file: &OwnedFd,
        peer: Sleeper,
    ) -> Result<Unused, Error> {
        let mapping = self.half.complete(file)?;
        let link = Arc::new(Link::new(mapping, terms));
        let remote = Remote::watch(socket, link.clone(), terms.end, peer)?;
        Ok(Unused::new(link, terms.end, Some(remote)))
    }
}

fn socket(flags: SocketFlags) -> Result<OwnedFd, Error> {
    Ok(rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        flags | SocketFlags::CLOEXEC,
        None,
    )?)
}
