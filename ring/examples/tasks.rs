//! Tasks of one thread: ten that send, and one that receives from each in turn.

use futures::executor::block_on;
use futures::future::{join, join_all};
use ring::asynchronous::{Receiver, Sender};
use ring::linux::{Geometry, pair};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut senders = Vec::new();
    let mut receivers = Vec::new();
    for _ in 0..10 {
        let (producer, consumer) = pair(Geometry::slot(64, 4))?;
        senders.push(Sender::new(producer.slot()?));
        receivers.push(Receiver::new(consumer.slot()?));
    }
    let sends = join_all(
        senders
            .iter_mut()
            .enumerate()
            .map(async |(number, sender)| {
                for round in 0..100 {
                    sender.send(format!("{number}: {round}").as_bytes()).await?;
                }
                Ok::<(), ring::Error>(())
            }),
    );
    let receives = async {
        let mut bytes = [0; 56];
        let mut length = 0;
        for _ in 0..100 {
            for receiver in &mut receivers {
                length = receiver.receive(&mut bytes).await?;
            }
        }
        println!("the last: {}", String::from_utf8_lossy(&bytes[..length]));
        Ok::<(), ring::Error>(())
    };
    let (sent, received) = block_on(join(sends, receives));
    sent.into_iter().collect::<Result<(), _>>()?;
    Ok(received?)
}
