//! Another process: this program once more, told by its environment which part it plays.
#![allow(dead_code, reason = "each test program uses its part")]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ring::linux::{Connection, End, Futex, Geometry, Listener, Setup, deadline_in};
use ring::slot;
use tempfile::TempDir;

const ROLE: &str = "HANDOVER_RING_ROLE";
const SOCKET: &str = "HANDOVER_RING_SOCKET";

/// How long a test waits for what has to come.
pub const SOON: Duration = Duration::from_secs(30);

pub const GEOMETRY: Geometry = Geometry::slot(128, 16);

pub fn soon() -> u64 {
    deadline_in(SOON)
}

/// Plays the part of this process, with its way to who started it, if it is the other one: what the test
/// `the_other_process` of each program does, which is nothing in the first process.
pub fn play(parts: &[(&str, &dyn Fn(Connection))]) {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let path = std::env::var_os(SOCKET).unwrap();
    let connection = Connection::connect(path).unwrap();
    let part = parts.iter().find(|(name, _)| *name == role);
    let (_, part) = part.unwrap_or_else(|| panic!("no such role: {role}"));
    part(connection);
}

/// A part that needs nobody else, in a process of its own.
pub fn alone(part: impl Fn()) -> impl Fn(Connection) {
    move |connection| {
        drop(connection);
        part();
    }
}

/// Has a part played that needs nobody else.
pub fn runs_well_in_another_process(role: &str) {
    let other = Other::start(role);
    drop(other.connection());
    other.ends_well();
}

/// Where both processes find what the other has left there.
pub fn shared_directory() -> PathBuf {
    let path = PathBuf::from(std::env::var_os(SOCKET).unwrap());
    path.parent().unwrap().to_owned()
}

/// Sends one message, and is there without a word until it is killed.
pub fn say_no_more(connection: Connection) {
    let end = Setup::new(GEOMETRY).produce(connection, soon()).unwrap();
    let mut end = end.slot().unwrap();
    end.try_send(b"here").unwrap();
    std::thread::sleep(SOON);
}

/// Another process, which is ended with the value.
pub struct Other {
    pub child: Child,
    listener: Listener,
    pub directory: TempDir,
}

impl Other {
    pub fn start(role: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path: PathBuf = directory.path().join("socket");
        let listener = Listener::bind(&path).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["the_other_process", "--exact", "--nocapture"])
            .env(ROLE, role)
            .env(SOCKET, &path)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            listener,
            directory,
        }
    }

    pub fn connection(&self) -> Connection {
        self.listener.accept(soon()).unwrap()
    }

    pub fn consume(&self) -> slot::Consumer<Futex> {
        let offer = self.connection().offer(soon()).unwrap();
        assert_eq!((offer.end(), offer.geometry()), (End::Consumer, GEOMETRY));
        assert_eq!(offer.peer().unwrap().process, self.child.id() as i32);
        offer.consume().unwrap().slot().unwrap()
    }

    pub fn produce(&self) -> slot::Producer<Futex> {
        let offer = self.connection().offer(soon()).unwrap();
        offer.produce().unwrap().slot().unwrap()
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn ends_well(mut self) {
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
