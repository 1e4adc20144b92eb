//! What programs must not do, and how they end when they do it.

use core::arch::asm;

use abi::limits::LEAF_SIZE;
use rt::{Env, Rights};

use crate::Case;
use crate::calls::{READ_WRITE, map_all, peek, poke, region, unmap};
use crate::check::{FETCH, PRESENT, WRITE, faults as ends_by, faults_at, succeeds};

const DIVISION: u32 = 0;
const DEBUG: u32 = 1;
const INVALID_OPCODE: u32 = 6;
const PROTECTION: u32 = 13;

/// The first address of the kernel's half.
const KERNEL: u64 = 0xffff_8000_0000_0000;
/// Neither half.
const NON_CANONICAL: u64 = 1 << 47;
/// Where the programs are linked: in the headers of the file, which are read-only.
const TEXT: u64 = 0x40_0000;

fn start(case: &Case, role: &str) -> rt::Process {
    done!(case.child(role).start(), "starting a child")
}

fn page_fault(case: &Case, role: &str, address: u64, bits: u32) {
    let status = faults_at(&start(case, role), address);
    same!(
        status.error_code & (WRITE | FETCH),
        bits & (WRITE | FETCH),
        "the kind of access"
    );
}

pub fn null_read(case: &Case) {
    page_fault(case, "null_read", 0, 0);
}

pub fn kernel_read(case: &Case) {
    page_fault(case, "kernel_read", KERNEL, 0);
}

pub fn kernel_write(case: &Case) {
    page_fault(case, "kernel_write", KERNEL, WRITE);
}

pub fn non_canonical(case: &Case) {
    ends_by(&start(case, "non_canonical"), PROTECTION);
}

pub fn text_write(case: &Case) {
    page_fault(case, "text_write", TEXT, PRESENT | WRITE);
}

pub fn data_execute(case: &Case) {
    let status = ends_by(&start(case, "data_execute"), crate::check::PAGE_FAULT);
    same!(status.error_code & FETCH, FETCH, "the kind of access");
    same!(status.address, status.instruction, "where it faulted");
}

pub fn stack_overflow(case: &Case) {
    let status = ends_by(&start(case, "stack_overflow"), crate::check::PAGE_FAULT);
    same!(status.error_code & WRITE, WRITE, "the kind of access");
}

pub fn read_only_write(case: &Case) {
    let status = ends_by(&start(case, "read_only_write"), crate::check::PAGE_FAULT);
    same!(status.error_code & WRITE, WRITE, "the kind of access");
    same!(status.address % LEAF_SIZE, 0, "where it faulted");
}

pub fn after_unmap(case: &Case) {
    let status = ends_by(&start(case, "after_unmap"), crate::check::PAGE_FAULT);
    same!(status.error_code & PRESENT, 0, "what is there");
    same!(status.address % LEAF_SIZE, 0, "where it faulted");
}

pub fn past_the_end(case: &Case) {
    let status = ends_by(&start(case, "past_the_end"), crate::check::PAGE_FAULT);
    same!(status.address % LEAF_SIZE, 4096, "where it faulted");
}

pub fn invalid_instruction(case: &Case) {
    ends_by(&start(case, "invalid_instruction"), INVALID_OPCODE);
}

pub fn privileged(case: &Case) {
    for role in ["hlt", "cli", "out", "read_cr3", "write_msr", "int_14"] {
        ends_by(&start(case, role), PROTECTION);
    }
    // What a system call means is not changed by any of them.
    succeeds(&start(case, "nothing"));
}

pub fn division(case: &Case) {
    ends_by(&start(case, "division"), DIVISION);
}

pub fn trap_flag(case: &Case) {
    ends_by(&start(case, "trap_flag"), DEBUG);
    ends_by(&start(case, "trap_flag_at_call"), DEBUG);
}

pub fn counted(case: &Case) {
    let system = || done!(rt::system_info(), "system_info").faults;
    // What a child takes of its own accord, as its pages are filled when they are touched.
    let taken = |role: &str| {
        let before = system();
        let child = start(case, role);
        crate::check::wait(&child);
        let own = done!(child.info(), "facts").faults;
        same!(
            done!(rt::object_info(child.handle()), "counts").faults,
            own,
            "at the object"
        );
        // Some may be of this process.
        check!(system() - before >= own, "of the system");
        own
    };
    let none = taken("nothing");
    for role in [
        "null_read",
        "division",
        "invalid_instruction",
        "hlt",
        "trap_flag",
    ] {
        same!(taken(role), none + 1, "faults of {role}");
    }
}

/// Goes down until the stack ends.
fn overflow(depth: u64) -> u64 {
    let page = [depth; 512];
    let page = core::hint::black_box(&page);
    if depth == u64::MAX {
        return page[0];
    }
    overflow(depth + 1) + page[1]
}

#[cfg(target_os = "none")]
fn execute(address: u64) {
    // SAFETY: it faults before anything is executed.
    unsafe { asm!("call {}", in(reg) address, clobber_abi("C")) }
}

#[cfg(not(target_os = "none"))]
fn execute(_: u64) {}

macro_rules! instruction {
    ($($text:literal),*) => {
        // SAFETY: it ends the process.
        unsafe { asm!($($text),*, clobber_abi("C")) }
    };
}

/// Does what must not be done; a role that comes back exits with 0.
pub fn child(role: &str, _: &Env) -> Option<u8> {
    match role {
        "nothing" => {}
        "null_read" => _ = peek(0),
        "kernel_read" => _ = peek(KERNEL),
        "kernel_write" => poke(KERNEL, 1),
        "non_canonical" => _ = peek(NON_CANONICAL),
        "text_write" => poke(TEXT, 1),
        "data_execute" => {
            let page = map_all(region(1), READ_WRITE);
            // The instruction `ret`, which would come back.
            poke(page, 0xc3);
            execute(page);
        }
        "stack_overflow" => _ = overflow(0),
        "read_only_write" => {
            let page = map_all(region(1), Rights::READ);
            let _ = peek(page);
            poke(page, 1);
        }
        "after_unmap" => {
            let page = map_all(region(1), READ_WRITE);
            poke(page, 1);
            done!(unmap(page), "unmapping");
            let _ = peek(page);
        }
        "past_the_end" => {
            let page = map_all(region(4096), READ_WRITE);
            poke(page + 4088, 1);
            let _ = peek(page + 4096);
        }
        "invalid_instruction" => instruction!("ud2"),
        "hlt" => instruction!("hlt"),
        "cli" => instruction!("cli"),
        "out" => instruction!("mov dx, 0x3f8", "mov al, 33", "out dx, al"),
        "read_cr3" => instruction!("mov rax, cr3"),
        "write_msr" => instruction!(
            "mov ecx, 0xc0000082",
            "xor eax, eax",
            "xor edx, edx",
            "wrmsr"
        ),
        "int_14" => instruction!("int 14"),
        "division" => instruction!("xor ecx, ecx", "xor edx, edx", "mov eax, 1", "div ecx"),
        "trap_flag" => instruction!("pushfq", "or qword ptr [rsp], 0x100", "popfq", "nop", "nop"),
        "trap_flag_at_call" => instruction!(
            "pushfq",
            "or qword ptr [rsp], 0x100",
            "xor eax, eax",
            "popfq",
            "syscall",
            "nop",
            "nop"
        ),
        _ => return None,
    }
    Some(0)
}
