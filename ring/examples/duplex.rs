//! Two processes that ask and answer over one connection: the second, which this one starts, does sums and is not trusted.

use std::time::Duration;

use ring::linux::{Connection, Geometry, Listener, deadline_in};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    match std::env::args_os().nth(1) {
        Some(path) => answer(path.as_ref()),
        None => ask(),
    }
}

fn soon() -> u64 {
    deadline_in(Duration::from_secs(10))
}

/// Answers each question with the sum of its numbers, until there are no more.
fn answer(path: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
    let connection = Connection::connect_by(path, soon())?;
    let offer = connection.duplex_offer(soon())?;
    // What this process sends by, it pays for.
    if offer.sending().data_bytes() > 1 << 20 {
        return Err("too large".into());
    }
    let mut side = offer.accept()?.packet()?;
    let mut question = [0; 1024];
    loop {
        match side.receiver.receive(&mut question, soon()) {
            Ok((number, length)) => {
                let sum: u64 = question[..length].iter().copied().map(u64::from).sum();
                side.sender.send(number, &sum.to_le_bytes(), soon())?;
            }
            Err(ring::Error::PeerClosed) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn ask() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir().join(format!("ring-duplex-{}", std::process::id()));
    std::fs::create_dir(&directory)?;
    let path = directory.join("socket");
    let listener = Listener::bind(&path)?;
    let mut child = std::process::Command::new(std::env::current_exe()?)
        .arg(&path)
        .spawn()?;
    let connection = listener.accept(soon())?;
    println!("process {} is asked", connection.peer()?.process);
    let (questions, answers) = (Geometry::packet(1 << 16), Geometry::packet(4096));
    let mut side = connection.duplex(questions, answers, soon())?.packet()?;
    for number in 1..=3_u32 {
        let numbers: Vec<u8> = (0..=number as u8 * 10).collect();
        side.sender.send(number, &numbers, soon())?;
    }
    // No more questions. What was asked is answered all the same.
    side.finish()?;
    let mut sum = [0; 8];
    let end = loop {
        match side.receiver.receive(&mut sum, soon()) {
            Ok((number, _)) => println!("answer {number}: {}", u64::from_le_bytes(sum)),
            Err(error) => break error,
        }
    };
    println!("and then: {end}");
    child.wait()?;
    std::fs::remove_dir_all(directory)?;
    Ok(())
}
