//! Addresses in a backtrace get the name, file and line of their function.

use handover_tests::symbolise::Symboliser;
use object::{Object, ObjectSymbol};

#[inline(never)]
fn landmark(number: u64) -> u64 {
    std::hint::black_box(number) + 1
}

#[test]
fn an_address_in_this_file_gets_its_name_and_place() {
    assert_eq!(landmark(1), 2);
    let path = std::env::current_exe().expect("a path");
    let bytes = std::fs::read(&path).expect("it can be read");
    let file = object::File::parse(bytes.as_slice()).expect("an ELF file");
    let symbol = file
        .symbols()
        .find(|symbol| symbol.name().is_ok_and(|name| name.contains("8landmark")))
        .expect("the symbol is there");
    let symboliser = Symboliser::new(&path);
    let line = format!("  at {:#x}", symbol.address() + 1);
    let named = symboliser.line(&line).expect("a name");
    assert!(named.starts_with(&line), "{named}");
    assert!(
        named.contains("landmark") && named.contains("(tests/tests/host/symbols.rs:"),
        "{named}"
    );
}

#[test]
fn what_has_no_name_is_left_alone() {
    let symboliser = Symboliser::new("/nonexistent".as_ref());
    assert_eq!(symboliser.line("  at 0x1000"), None);
    assert_eq!(symboliser.line("  at 0x0"), None);
    assert_eq!(symboliser.line("  at home"), None);
    assert_eq!(symboliser.line("elsewhere"), None);
}
