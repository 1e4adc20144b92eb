//! The driver as a service: a supervisor keeps it running, and who wants a factorial finds it by its name. What belongs to
//! the device is the supervisor's, who gives it to each life of the driver.

use alloc::vec::Vec;

use programs::supervision::FUSE_BURNT;
use programs::{archive, expect};
use rt::names::{Listener, Names, Service};
use rt::{ChannelEnd, Env, Error, FOREVER, Handle, Mode, Process, Region, Rights, Spawn, println};

use super::{BROKEN, Device, Edu, open};

/// The name of the service, and what it is told to be.
const NAME: &str = "edu";
pub const SERVE: &str = "serve";
/// How often who waits for the driver looks whether its supervisor has given up, in ms.
const PATIENCE_MS: u64 = 1000;
/// Clients at once.
const CLIENTS: usize = 16;
/// What it can be asked for: the factorial of a number; to end in order.
const FACTORIAL: u64 = 1;
const FINISH: u64 = 2;
/// The first word of an answer.
const DONE: u64 = 0;
const REFUSED: u64 = 1;
/// What the supervisor may do with the image of the driver, to start it.
const IMAGE: Rights = Rights::EXECUTE
    .union(Rights::GRANT)
    .union(Rights::DUPLICATE);

/// Computes what clients ask for, until one of them has it end.
pub fn serve(end: Handle, device: Device) -> u8 {
    let listener = Listener::new(ChannelEnd::from_handle(end));
    let mut service = expect!(Service::new(listener, CLIENTS), "edu: a port");
    let edu: Edu = match open(device) {
        Ok(edu) => edu,
        Err(status) => return status,
    };
    edu.take_over();
    let error = service.serve(|_, mut received| {
        let Some(mut reply) = received.take_reply() else {
            return;
        };
        let asked = received.words();
        let answer = match asked {
            Some([FACTORIAL, number, 0, 0]) if u32::try_from(number).is_ok() => {
                [DONE, edu.factorial(number as u32).into(), 0, 0]
            }
            Some([FINISH, 0, 0, 0]) => [DONE, 0, 0, 0],
            _ => [REFUSED, 0, 0, 0],
        };
        // Who has gone meanwhile does not need it.
        let _ = reply.send_words(answer);
        if asked == Some([FINISH, 0, 0, 0]) {
            rt::exit(0);
        }
    });
    // Nobody can come any more.
    if error == Error::PeerClosed {
        return 0;
    }
    println!("edu: serving: {error}");
    BROKEN
}

/// Has a supervisor keep the driver running, whose first lives may have a fuse, and asks it for factorials.
pub fn keep(env: &Env, device: Device, numbers: &[u32], fuses: Option<&str>) -> u8 {
    let names = Names::from_handle(env.handle(1));
    let supervisor = start_supervisor(env.handle(0), &names, device, fuses);
    let mut client = Client {
        names: &names,
        supervisor: &supervisor,
        driver: None,
        lost: 0,
    };
    for &number in numbers {
        let factorial = client.ask([FACTORIAL, number.into(), 0, 0]);
        println!("edu: {number}! = {factorial}, told by the driver");
    }
    client.finish();
    let ended = expect!(supervisor.wait(FOREVER), "edu: waiting for the supervisor");
    println!("edu: {} connections lost", client.lost);
    match ended.exited().map(|status| status as u8) {
        Some(0) => 0,
        Some(FUSE_BURNT) => FUSE_BURNT,
        _ => BROKEN,
    }
}

fn start_supervisor(initrd: Handle, names: &Names, device: Device, fuses: Option<&str>) -> Process {
    let initrd = Region::from_handle(initrd);
    let image = |name: &str| {
        let image = archive::image(&initrd, name);
        expect!(image, "edu: the program `{name}`")
    };
    let session = expect!(names.attach(FOREVER), "edu: a session");
    let spawn = Spawn::new(image("supervisor"), "supervisor");
    let options = Vec::from_iter(fuses.map(|fuses| ["--fuse", fuses]));
    let spawn = options
        .iter()
        .flatten()
        .fold(spawn, |spawn, word| spawn.arg(word));
    let spawn = spawn
        .arg(NAME)
        .arg(SERVE)
        .handle(session.into_handle(), Mode::Move, Rights::all())
        .handle(image("edu"), Mode::Share, IMAGE);
    let give = |spawn: Spawn<'static>, handle| spawn.handle(handle, Mode::Share, Rights::all());
    let spawn = device.into_iter().fold(spawn, give);
    expect!(spawn.start(), "edu: starting the supervisor")
}

/// A client of the driver, who connects again when that is gone.
struct Client<'a> {
    names: &'a Names,
    supervisor: &'a Process,
    driver: Option<ChannelEnd>,
    lost: u64,
}

impl Client<'_> {
    /// Asks until there is an answer: a number has one factorial, however often it is computed.
    fn ask(&mut self, request: [u64; 4]) -> u64 {
        loop {
            let driver = match self.driver.take() {
                Some(driver) => driver,
                None => self.connect(),
            };
            match driver.call_words(request, FOREVER) {
                Ok([DONE, value, ..]) => {
                    self.driver = Some(driver);
                    return value;
                }
                Err(Error::PeerClosed) => self.lost += 1,
                answer => {
                    println!("edu: the driver answered {request:?} with {answer:?}");
                    rt::exit(BROKEN);
                }
            }
        }
    }

    /// A connection to the driver, or to the next one.
    fn connect(&self) -> ChannelEnd {
        loop {
            match self.names.connect(NAME, rt::in_ms(PATIENCE_MS)) {
                Ok(driver) => return driver,
                Err(Error::TimedOut) if self.supervisor.wait(0).is_err() => {}
                Err(error) => {
                    println!("edu: connecting to the driver: {error}");
                    rt::exit(BROKEN);
                }
            }
        }
    }

    /// Has it end. One that has answered may end before it has exited in order, and is started again.
    fn finish(&mut self) {
        self.ask([FINISH, 0, 0, 0]);
        loop {
            match self.names.look_up(NAME, FOREVER) {
                Ok(driver) => {
                    let _ = driver.call_words([FINISH, 0, 0, 0], FOREVER);
                }
                Err(Error::NotFound) => return,
                Err(error) => {
                    println!("edu: looking for the driver: {error}");
                    rt::exit(BROKEN);
                }
            }
        }
    }
}
