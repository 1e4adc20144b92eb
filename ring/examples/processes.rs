//! Two processes: the second, which this one starts, sends the lines of a text and is not trusted.

use std::time::Duration;

use ring::linux::{Connection, Geometry, Listener, deadline_in};

const TEXT: &str = "Two that need not trust\none another\nshare a ring.";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    match std::env::args_os().nth(1) {
        Some(path) => send(path.as_ref()),
        None => receive(),
    }
}

fn soon() -> u64 {
    deadline_in(Duration::from_secs(10))
}

fn send(path: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
    let connection = Connection::connect(path)?;
    let mut producer = connection
        .produce(Geometry::packet(4096), soon())?
        .packet()?;
    for (number, line) in (1..).zip(TEXT.lines()) {
        producer.send(number, line.as_bytes(), soon())?;
    }
    // Without a word, as a process that crashes.
    std::process::abort()
}

fn receive() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir().join(format!("ring-{}", std::process::id()));
    std::fs::create_dir(&directory)?;
    let path = directory.join("socket");
    let listener = Listener::bind(&path)?;
    let mut child = std::process::Command::new(std::env::current_exe()?)
        .arg(&path)
        .spawn()?;
    let offer = listener.accept(soon())?.offer(soon())?;
    println!(
        "process {} offers {:?}",
        offer.peer()?.process,
        offer.geometry()
    );
    let mut consumer = offer.consume()?.packet()?;
    let mut bytes = [0; 1024];
    let end = loop {
        match consumer.receive(&mut bytes, soon()) {
            Ok((tag, length)) => println!("{tag}: {}", String::from_utf8_lossy(&bytes[..length])),
            Err(error) => break error,
        }
    };
    println!("and then: {end}");
    child.wait()?;
    std::fs::remove_dir_all(directory)?;
    Ok(())
}
