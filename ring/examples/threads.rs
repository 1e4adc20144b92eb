//! Two threads: one counts, the other adds up.

use ring::linux::{Geometry, pair};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // 1,024 slots of 64 bytes, of which a message can have 56.
    let (producer, consumer) = pair(Geometry::slot(64, 1024))?;
    let mut producer = producer.slot()?;
    let mut consumer = consumer.slot()?;
    let sender = std::thread::spawn(move || {
        for number in 1..=1_000_000_u64 {
            producer.send(&number.to_le_bytes(), u64::MAX)?;
        }
        Ok::<(), ring::Error>(())
    });
    let mut bytes = [0; 8];
    let mut sum = 0;
    let end = loop {
        match consumer.receive(&mut bytes, u64::MAX) {
            Ok(_) => sum += u64::from_le_bytes(bytes),
            Err(error) => break error,
        }
    };
    println!("{sum}, and then: {end}");
    sender.join().expect("it does not panic")?;
    Ok(())
}
