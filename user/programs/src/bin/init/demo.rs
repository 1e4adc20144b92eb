//! The demonstration: a producer and a consumer on different CPUs, who find each other by name.

use alloc::format;

use abi::limits::LEAF_SIZE;
use programs::demo::PRODUCER_VA;
use programs::expect;
use rt::{FOREVER, Mode, Process, ProcessState, ProcessStatus, Rights, Spawn};

use crate::names::NameService;
use crate::{Initrd, READ_INITRD};

/// The vector of a page fault.
const PAGE_FAULT: u32 = 14;

/// Passes a file from one program to another by each way.
pub fn run(initrd: &Initrd) -> u8 {
    let Some(input) = initrd.find("input") else {
        rt::println!("init: the initrd has no file `input`");
        return crate::NOT_FOUND;
    };
    let names = NameService::start(initrd);
    let cpus = expect!(rt::system_info(), "init: counters").cpus;
    let consumer_cpu = if cpus > 1 { 1 << 1 } else { 1 << 0 };

    let all = Rights::all();
    let consumer = Spawn::new(initrd.image("consumer"), "consumer")
        .handle(names.session().into_handle(), Mode::Move, all)
        .cpus(consumer_cpu);
    let consumer = expect!(consumer.start(), "init: starting the consumer");
    let producer = Spawn::new(initrd.image("producer"), "producer")
        .arg(&format!("{}", input.offset))
        .arg(&format!("{}", input.len))
        .handle(initrd.region.handle(), Mode::Share, READ_INITRD)
        .handle(names.session().into_handle(), Mode::Move, all)
        .cpus(1 << 0);
    let producer = expect!(producer.start(), "init: starting the producer");
    report_placement(&producer, &consumer);

    let produced = expect!(producer.wait(FOREVER), "init: waiting for the producer");
    let consumed = expect!(consumer.wait(FOREVER), "init: waiting for the consumer");
    let faulted = report_fault(&produced, input.len);
    if !consumed.succeeded() {
        rt::println!("init: the consumer failed");
    }
    u8::from(!(faulted && consumed.succeeded()))
}

fn report_placement(producer: &Process, consumer: &Process) {
    let cpu = |process: &Process| expect!(process.info(), "init: where a process runs").cpu;
    rt::println!(
        "#placed producer={} consumer={}",
        cpu(producer),
        cpu(consumer)
    );
}

/// The producer has to end where it touched what it had moved away.
fn report_fault(status: &ProcessStatus, len: u64) -> bool {
    let end = PRODUCER_VA + len.max(1).next_multiple_of(LEAF_SIZE);
    let expected = status.state == ProcessState::Faulted as u32
        && status.vector == PAGE_FAULT
        && (PRODUCER_VA..end).contains(&status.address);
    if expected {
        rt::println!("#fault addr={:#x} ok", status.address);
    } else {
        rt::println!(
            "init: the producer did not fault where it should: state {}, vector {}, address {:#x}",
            status.state,
            status.vector,
            status.address
        );
    }
    expected
}
