//! Sends a file of the initrd to the consumer by each way, and proves that Move took it away.
//!
//! Arguments: the offset and the length of the file in the initrd. Handles: the initrd, and a session
//! with the name service.

#![cfg_attr(target_os = "none", no_std, no_main)]

use programs::demo::{
    ANNOUNCEMENT, Announcement, CHUNK, CONSUMER, DONE, PRODUCER_VA, SLOT_SIZE, SLOTS, Way,
};
use programs::expect;
use rt::names::Names;
use rt::{
    Env, FOREVER, Handle, MapFlags, Mapping, Message, Receiver, Region, Rights, Sender,
    SnapshotFlags,
};

rt::entry!(run);

/// What the consumer may do with what it is given.
const GRANTED: Rights = Rights::READ.union(Rights::MAP).union(Rights::INSPECT);

fn run(env: &Env) -> u8 {
    let number = |index| {
        env.args()
            .nth(index)
            .and_then(|arg| arg.parse::<usize>().ok())
    };
    let (Some(offset), Some(len)) = (number(1), number(2)) else {
        rt::println!(
            "producer: needs the offset and the length of a file: init starts it for the demonstration"
        );
        return 2;
    };
    let initrd = Region::from_handle(env.handle(0));
    let view = expect!(initrd.map(Rights::READ), "producer: mapping the initrd");
    // SAFETY: nobody can write the initrd, and this process keeps its mapping.
    let archive = unsafe { view.as_slice(view.len() as usize) };
    let Some(file) = archive.get(offset..).and_then(|rest| rest.get(..len)) else {
        rt::println!("producer: the file reaches past the initrd");
        return 2;
    };
    let mut link = connect(&Names::from_handle(env.handle(1)));

    link.send_by_ring(file);

    let (region, mut mapping) = filled_region(file);
    let start = Start::now();
    let token = expect!(region.share(link.via, GRANTED), "producer: Share");
    link.announce(Way::Share, token.bits(), len, start);
    link.wait_until_done();

    let start = Start::now();
    let copied = region.copy(link.via, GRANTED, SnapshotFlags::empty());
    let token = expect!(copied, "producer: CopyOnWrite");
    let granted = Start::now();
    // The receiver has not even heard of it, and must not see any of this.
    fill(&mut mapping, file, |byte| !byte);
    let start = start.without(&granted, &Start::now());
    link.announce(Way::Copy, token.bits(), len, start);
    link.wait_until_done();
    fill(&mut mapping, file, |byte| byte);

    let start = Start::now();
    let moved = mapping.address();
    let token = expect!(region.give([mapping], link.via, GRANTED), "producer: Move");
    link.announce(Way::Move, token.bits(), len, start);
    link.wait_until_done();

    // The region is the consumer's now: this is where the process has to end.
    // SAFETY: nothing that Rust knows of is at this address.
    let byte = unsafe { (moved as *const u8).read_volatile() };
    rt::println!("producer: still reads {byte:#x} from what it moved away");
    1
}

/// Finds the consumer, and gives it the other ends of two rings.
fn connect(names: &Names) -> Link {
    let consumer = names.connect(CONSUMER, FOREVER);
    let consumer = expect!(consumer, "producer: looking for the consumer");
    let (via, from_producer) = expect!(rt::ring(SLOT_SIZE, SLOTS), "producer: a ring");
    let (to_producer, end) = expect!(rt::ring(SLOT_SIZE, SLOTS), "producer: a ring");
    let mut rings = Message::new(&[]).give(from_producer).give(to_producer);
    let ready = consumer.call(&mut rings, FOREVER);
    expect!(ready, "producer: giving the consumer its rings");
    Link {
        via,
        sender: expect!(rt::open_sender(via), "producer: opening its ring"),
        receiver: expect!(rt::open_receiver(end), "producer: opening its ring"),
    }
}

/// A region with the bytes of the file in it, mapped where init expects it.
fn filled_region(file: &[u8]) -> (Region, Mapping) {
    // A file without bytes still needs a region to be handed over: its length travels beside it.
    let region = expect!(
        Region::create(file.len().max(1) as u64),
        "producer: a region of {} bytes",
        file.len()
    );
    let access = Rights::READ | Rights::WRITE;
    let mut mapping = expect!(
        region.map_at(PRODUCER_VA, access, MapFlags::FIXED),
        "producer: mapping its region"
    );
    fill(&mut mapping, file, |byte| byte);
    (region, mapping)
}

/// Writes the bytes of the file, changed in this way, while nobody else has the region.
fn fill(mapping: &mut Mapping, file: &[u8], change: impl Fn(u8) -> u8) {
    // SAFETY: the consumer has not got the region yet, or has answered and given it back; its
    // snapshots are other memory.
    if let Some(bytes) = unsafe { mapping.as_mut_slice(file.len()) } {
        for (to, from) in bytes.iter_mut().zip(file) {
            *to = change(*from);
        }
    }
}

/// The counters when a way begins.
struct Start {
    entries: u64,
    instructions: u64,
}

impl Start {
    fn now() -> Start {
        let info = expect!(rt::system_info(), "producer: counters");
        Start {
            entries: info.syscalls + info.faults,
            instructions: info.instructions,
        }
    }

    /// As if what was counted from one moment to another had not been.
    fn without(self, from: &Start, to: &Start) -> Start {
        Start {
            entries: self.entries + to.entries - from.entries,
            instructions: self.instructions + to.instructions - from.instructions,
        }
    }
}

/// Both directions to the consumer.
struct Link {
    via: Handle,
    sender: Sender,
    receiver: Receiver,
}

impl Link {
    fn announce(&mut self, way: Way, token: u64, len: usize, start: Start) {
        let announcement: [u8; ANNOUNCEMENT] = Announcement {
            way: way as u64,
            token,
            len: len as u64,
            entries: start.entries,
            instructions: start.instructions,
        }
        .encode();
        expect!(
            self.sender.send(&announcement, FOREVER),
            "producer: announcing"
        );
    }

    fn send_by_ring(&mut self, file: &[u8]) {
        self.announce(Way::Ring, 0, file.len(), Start::now());
        for chunk in file.chunks(CHUNK) {
            expect!(self.sender.send(chunk, FOREVER), "producer: sending");
        }
        self.wait_until_done();
    }

    fn wait_until_done(&mut self) {
        let mut answer = [0; DONE.len()];
        let received = self.receiver.receive(&mut answer, FOREVER);
        let len = expect!(received, "producer: waiting for the consumer");
        if &answer[..len] != DONE {
            rt::println!("producer: the consumer answered something else");
            rt::exit(1);
        }
    }
}
