#![cfg_attr(target_os = "none", no_std, no_main)]
extern crate alloc;
rt::entry!(run);
fn run(_: &rt::Env) -> u8 {
    0
}
