//! The kernel.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod bringup {
    use boot::BootInfo;
    #[unsafe(no_mangle)]
    fn kernel_main(info: &'static BootInfo) -> ! {
        for b in b"hello\n" { 
            // SAFETY: x
            unsafe { core::arch::asm!("out dx, al", in("dx") 0x3f8u16, in("al") *b); }
        }
        let code = if info.memory.is_empty() {0x11u32} else {0x10};
        // SAFETY: x
        unsafe { core::arch::asm!("out dx, eax", in("dx") 0xf4u16, in("eax") code); }
        loop {}
    }
    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo) -> ! { loop {} }
}

#[cfg(not(target_os = "none"))]
fn main() {}
