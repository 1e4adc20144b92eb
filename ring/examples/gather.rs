//! Many processes send and one thread receives from all of them: the senders, which this process starts, are not trusted,
//! and one of them crashes.

use std::time::Duration;

use ring::linux::{Connection, Gathering, Geometry, Listener, deadline_in};
use ring::mpsc::{Next, Receiver};

const SENDERS: usize = 3;
const GEOMETRY: Geometry = Geometry::packet(4096);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    match (arguments.next(), arguments.next()) {
        (Some(path), Some(name)) => send(path.as_ref(), &name.to_string_lossy()),
        _ => receive(),
    }
}

fn soon() -> u64 {
    deadline_in(Duration::from_secs(10))
}

/// Says hello a few times. Whom its end wakes, and how, has been agreed on and is no concern of it.
fn send(path: &std::path::Path, name: &str) -> Result<(), Box<dyn std::error::Error>> {
    let connection = Connection::connect_by(path, soon())?;
    let mut producer = connection.produce(GEOMETRY, soon())?.packet()?;
    for number in 1..=3 {
        producer.send(number, format!("hello from {name}").as_bytes(), soon())?;
        if name == "2" && number == 2 {
            std::process::abort();
        }
    }
    Ok(())
}

fn receive() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir().join(format!("ring-gather-{}", std::process::id()));
    std::fs::create_dir(&directory)?;
    let path = directory.join("socket");
    let listener = Listener::bind(&path)?;
    let gathering = Gathering::new();
    let mut receiver = Receiver::new([const { None }; SENDERS], gathering.clone())?;
    let mut processes = [0; SENDERS];
    let mut children = Vec::new();
    for number in 1..=SENDERS {
        let mut child = std::process::Command::new(std::env::current_exe()?);
        children.push(child.arg(&path).arg(number.to_string()).spawn()?);
        let offer = listener.accept(soon())?.offer(soon())?;
        if offer.geometry() != GEOMETRY {
            return Err("another ring than was agreed on".into());
        }
        let process = offer.peer()?.process;
        // A thread sleeps at one word; who sleeps at a gathering is told over the socket, as a task is.
        let end = offer.for_tasks().consume()?.gathered_at(&gathering)?;
        let place = receiver.join(end.packet()?).map_err(|(_, error)| error)?;
        processes[place] = process;
    }
    let mut bytes = vec![0; GEOMETRY.max_message_bytes()];
    while receiver.members() > 0 {
        match receiver.next(soon()) {
            Ok(Next::Ready { place, consumer }) => {
                // What can't be received ends this one, which is told next, and no other.
                if let Ok((number, length)) = consumer.try_receive(&mut bytes) {
                    let text = String::from_utf8_lossy(&bytes[..length]);
                    println!("{}, {number}: {text}", processes[place]);
                }
            }
            Ok(Next::Ended { place, why, .. }) => println!("{}: {why}", processes[place]),
            // Woken for what was received already.
            Err(ring::Error::Empty) => {}
            Err(error) => return Err(error.into()),
        }
    }
    for mut child in children {
        child.wait()?;
    }
    std::fs::remove_dir_all(directory)?;
    Ok(())
}
