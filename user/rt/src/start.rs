//! The first instructions of a program.

use core::arch::naked_asm;
use core::mem::offset_of;

use abi::StartInfo;

use crate::Env;

/// Entries of a dynamic section, and the one kind of relocation that a static executable has
/// (ELF gABI; System V psABI for x86_64).
const DT_NULL: u64 = 0;
const DT_RELA: u64 = 7;
const DT_RELASZ: u64 = 8;
const R_X86_64_RELATIVE: u64 = 8;

/// The kernel jumps here with the [`StartInfo`] in `rdi`. A position-independent program has not
/// been relocated yet, so nothing here may use an absolute address.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        ".weak _DYNAMIC",
        ".hidden _DYNAMIC",
        "xor ebp, ebp",
        "and rsp, -16",
        "push rdi",
        "push 0",
        "mov rdi, [rdi + {image_base}]",
        "lea rsi, [rip + _DYNAMIC]",
        "call {relocate}",
        "pop rdi",
        "pop rdi",
        "call {begin}",
        "ud2",
        image_base = const offset_of!(StartInfo, image_base),
        relocate = sym relocate,
        begin = sym begin,
    )
}

/// Applies the relocations of a position-independent program that was loaded at `base`. One that
/// was linked at a fixed address has no dynamic section, and its address comes out as 0 or close to it.
///
/// # Safety
/// Once, first of all, with the address of the dynamic section.
unsafe extern "C" fn relocate(base: u64, mut dynamic: *const [u64; 2]) {
    if (dynamic as u64) < base {
        return;
    }
    let (mut table, mut size) = (0, 0);
    loop {
        // SAFETY: the dynamic section ends with DT_NULL.
        let [tag, value] = unsafe { dynamic.read() };
        match tag {
            DT_NULL => break,
            DT_RELA => table = base + value,
            DT_RELASZ => size = value,
            _ => {}
        }
        // SAFETY: not the last one.
        dynamic = unsafe { dynamic.add(1) };
    }
    for at in (table..table + size).step_by(24) {
        // SAFETY: the table lies in the image, and the linker made it.
        let [offset, info, addend] = unsafe { (at as *const [u64; 3]).read() };
        if info & 0xffff_ffff == R_X86_64_RELATIVE {
            // SAFETY: the linker says that a pointer is here, in writable memory of the image.
            unsafe { ((base + offset) as *mut u64).write(base + addend) };
        }
    }
}

unsafe extern "C" fn begin(info: *const StartInfo) -> ! {
    unsafe extern "Rust" {
        fn handover_main(env: &Env) -> u8;
    }
    #[cfg(sabotage)]
    // SAFETY: behind the arguments the kernel of such a build leaves a name and a zero.
    unsafe {
        let name = ((*info).args + (*info).args_len) as *const core::ffi::c_char;
        ring::sabotage::choose(core::ffi::CStr::from_ptr(name).to_str().unwrap_or_default());
    }
    // SAFETY: the kernel's pointer, to a structure on this stack that nobody else knows.
    let env = unsafe { Env::new(&*info) };
    // SAFETY: `entry!` defines it with this signature.
    let status = unsafe { handover_main(&env) };
    crate::exit(status)
}

/// Prints the panic and ends the program.
#[cfg(feature = "panic-handler")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    crate::println!("{info}");
    crate::exit(101)
}
