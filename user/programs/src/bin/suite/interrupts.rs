//! Interrupts of devices, as far as they are made and given back; a device that interrupts is for the
//! program `edu`.

use abi::UserPtr;
use abi::limits::PAGE_SIZE;
use alloc::vec::Vec;
use rt::{
    Env, Error, Handle, Interrupt, InterruptInfo, Mode, Notification, Resources, Rights, in_ms, sys,
};

use crate::Case;
use crate::calls::{cap_derive, cap_drop, resource_part};
use crate::check::succeeds;

/// More than a CPU has lines.
const MANY: usize = 256;
/// Enough for a process, and for fewer notifications than that.
const QUOTA: u64 = 512 << 10;
/// The window of old graphics adapters: nobody's here.
const WINDOW: u64 = 0xa_0000;

fn notification() -> Notification {
    done!(Notification::create(), "a notification")
}

/// The resource of a device that is not there.
fn registers(case: &Case) -> Handle {
    done!(
        resource_part(case.devices, WINDOW, PAGE_SIZE),
        "a part of all devices"
    )
}

pub fn messages(case: &Case) {
    let (registers, notification) = (registers(case), notification());
    let create = || {
        let made = Interrupt::create(registers, &notification, 1);
        done!(made, "an interrupt")
    };
    let ((_first, one), (_second, other)) = (create(), create());
    for message in [one, other] {
        // SDM 3A 11.11: the window of the local APICs, one CPU, no hint; fixed, by edge.
        same!(message.address >> 20, 0xfee, "the window");
        same!(message.address & 0xfff, 0, "how it is addressed");
        check!(
            (0x20..0xff).contains(&message.data),
            "the vector is {:#x}",
            message.data
        );
        same!(message.reserved, 0, "what is reserved");
    }
    check!(one != other, "two interrupts have one message");
    done!(cap_drop(registers), "dropping the resource");
    same!(done!(notification.poll(), "polling"), 0, "bits");
}

pub fn limit(case: &Case) {
    let (registers, notification) = (registers(case), notification());
    let mut made: Vec<(Interrupt, InterruptInfo)> = Vec::new();
    let error = loop {
        match Interrupt::create(registers, &notification, 1) {
            Ok(interrupt) => made.push(interrupt),
            Err(error) => break error,
        }
        check!(made.len() < MANY, "there is no limit");
    };
    same!(error, Error::Limit, "after {} interrupts", made.len());
    let all = made.len();
    // A line that was given back is not given away before it has rested.
    drop(made.split_off(all / 2));
    refused!(
        Interrupt::create(registers, &notification, 1),
        Error::Limit,
        "an interrupt with a line that was just given back"
    );
    rt::sleep_until(in_ms(101)).unwrap_or_default();
    while made.len() < all {
        let again = Interrupt::create(registers, &notification, 1);
        made.push(done!(again, "an interrupt after the rest"));
    }
    drop(made);
    done!(cap_drop(registers), "dropping the resource");
    rt::sleep_until(in_ms(101)).unwrap_or_default();
}

pub fn refused(case: &Case) {
    let (registers, notification) = (registers(case), notification());
    let derive = |handle, rights| done!(cap_derive(handle, rights), "deriving");
    let waits = Notification::from_handle(derive(notification.handle(), Rights::WAIT));
    let inspected = derive(registers, Rights::INSPECT);
    refused!(
        Interrupt::create(inspected, &notification, 1),
        Error::Denied,
        "without MANAGE on the resource"
    );
    refused!(
        Interrupt::create(case.image, &notification, 1),
        Error::WrongKind,
        "an image as a resource"
    );
    refused!(
        Interrupt::create(registers, &waits, 1),
        Error::Denied,
        "without SIGNAL on the notification"
    );
    for bits in [0, 1 << 63] {
        refused!(
            Interrupt::create(registers, &notification, bits),
            Error::Invalid,
            "bits {bits:#x}"
        );
    }
    // Where its message can't be told, more often than there are lines.
    for _ in 0..MANY {
        let nowhere = UserPtr::new(8);
        refused!(
            // SAFETY: nothing of this program is at that address.
            unsafe { sys::interrupt_create(registers, notification.handle(), 1, nowhere) },
            Error::Fault,
            "a message to nowhere"
        );
    }
    // The line of one that is refused is somebody else's at once.
    let poor = case
        .child("poor")
        .handle(registers, Mode::Share, Rights::all())
        .handle(notification.handle(), Mode::Share, Rights::all())
        .quota(Resources::bytes(QUOTA));
    succeeds(&done!(poor.start(), "starting a child"));
    for handle in [registers, inspected] {
        done!(cap_drop(handle), "dropping a resource");
    }
}

/// A process that can pay for no interrupt, until it gives something back.
fn poor(env: &Env) {
    let registers = env.handle(0);
    let notification = Notification::from_handle(env.handle(1));
    // Without the heap of the process, which would take of the quota.
    let mut made = [const { None }; MANY];
    let refusal = made.iter_mut().find_map(|place| {
        let more = Notification::create();
        more.map(|more| *place = Some(more)).err()
    });
    same!(refusal, Some(Error::Quota), "the last answer");
    for _ in 0..MANY {
        refused!(
            Interrupt::create(registers, &notification, 1),
            Error::Quota,
            "an interrupt that nobody pays for"
        );
    }
    made[0] = None;
    done!(
        Interrupt::create(registers, &notification, 1),
        "an interrupt in its place"
    );
}

/// The roles of children here.
pub fn child(role: &str, env: &Env) -> Option<u8> {
    match role {
        "poor" => poor(env),
        _ => return None,
    }
    Some(0)
}
