//! The messages between the producer and the consumer of the demonstration, as bytes in a ring.

/// The name under which the consumer is found.
pub const CONSUMER: &str = "consumer";

/// Bytes of a slot of the demonstration's rings; a message is 8 bytes shorter.
pub const SLOT_SIZE: u32 = 4096;
/// Slots of each ring.
pub const SLOTS: u32 = 16;
/// Bytes of a file that one message carries.
pub const CHUNK: usize = SLOT_SIZE as usize - 8;

/// The address at which the producer maps what it hands over, so that init knows where it will
/// fault.
pub const PRODUCER_VA: u64 = 0x20_0000_0000;

/// How a file comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Copied through the ring.
    Ring,
    /// In a region that both sides have.
    Share,
    /// In a snapshot of a region, which the sender writes over at once.
    Copy,
    /// In a region that changes hands.
    Move,
}

impl Way {
    /// All of them, in the order of the demonstration.
    pub const ALL: [Way; 4] = [Way::Ring, Way::Share, Way::Copy, Way::Move];

    /// Its name in the report.
    pub const fn name(self) -> &'static str {
        match self {
            Way::Ring => "ring",
            Way::Share => "share",
            Way::Copy => "copy",
            Way::Move => "move",
        }
    }
}

/// What the producer announces before it sends a file: the way, what to accept, how many bytes,
/// and the counters at that moment.
#[derive(Clone, Copy, Debug)]
pub struct Announcement {
    /// The number of the way in [`Way::ALL`].
    pub way: u64,
    /// The token of the region; 0 through the ring.
    pub token: u64,
    /// Bytes of the file.
    pub len: u64,
    /// System calls and faults of the whole system when the producer began.
    pub entries: u64,
    /// Instructions when the producer began.
    pub instructions: u64,
}

/// Bytes of an announcement.
pub const ANNOUNCEMENT: usize = 40;

impl Announcement {
    /// As a message.
    pub fn encode(&self) -> [u8; ANNOUNCEMENT] {
        let fields = [
            self.way,
            self.token,
            self.len,
            self.entries,
            self.instructions,
        ];
        let mut bytes = [0; ANNOUNCEMENT];
        for (place, field) in bytes.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    /// From a message.
    pub fn decode(bytes: &[u8; ANNOUNCEMENT]) -> Announcement {
        let field = |index: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[index * 8..index * 8 + 8]);
            u64::from_le_bytes(word)
        };
        Announcement {
            way: field(0),
            token: field(1),
            len: field(2),
            entries: field(3),
            instructions: field(4),
        }
    }
}

/// What the consumer answers when it has everything.
pub const DONE: &[u8] = b"done";
