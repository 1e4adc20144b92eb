//! The layouts byte by byte, and what is refused.

use super::*;

#[test]
fn an_entry_is_these_bytes() {
    let flags = SubmissionFlags::LINK | SubmissionFlags::REGISTERED;
    let entry = Submission::new(Operation::Signal, 0x1122_3344_5566_7788, [1, 2, 3, 4, 5, 6]);
    let entry = entry.with(flags);
    let mut bytes = [0; 64];
    for (to, word) in bytes.chunks_exact_mut(8).zip(entry.to_words()) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    assert_eq!(bytes[..8], [81, 0, 5, 0, 0, 0, 0, 0]);
    assert_eq!(
        bytes[8..16],
        [0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]
    );
    assert_eq!((bytes[16], bytes[24], bytes[56]), (1, 2, 6));
    assert_eq!(Submission::from_bytes(&bytes), entry);
    assert_eq!(entry.decode(), Ok((Operation::Signal, flags)));
}

#[test]
fn a_completion_is_these_bytes() {
    let entry = Submission::new(Operation::Copy, 7, [0; 6]);
    let bytes = Completion::new(&entry, Err(Error::Cancelled)).to_bytes();
    let mut wanted = [0; 32];
    wanted[0] = 7;
    wanted[8..16].copy_from_slice(&18u64.wrapping_neg().to_le_bytes());
    wanted[16] = 116;
    assert_eq!(bytes, wanted);
}

#[test]
fn what_is_reserved_or_unknown_is_refused() {
    let entry = Submission::new(Operation::Nop, 0, [0; 6]);
    let reserved = Submission {
        reserved: 1,
        ..entry
    };
    assert_eq!(reserved.decode(), Err(Error::Invalid));
    let flags = Submission {
        flags: 1 << 4,
        ..entry
    };
    assert_eq!(flags.decode(), Err(Error::Invalid));
    let unknown = Submission {
        operation: 5,
        ..entry
    };
    assert_eq!(unknown.decode(), Err(Error::Unsupported));
    let registered = entry.with(SubmissionFlags::REGISTERED);
    assert_eq!(registered.decode(), Err(Error::Invalid));
    let source = Submission::new(Operation::Map, 0, [0; 6]);
    let source = source.with(SubmissionFlags::REGISTERED_SOURCE);
    assert_eq!(source.decode(), Err(Error::Invalid));
}

#[test]
fn every_operation_but_those_of_rings_alone_is_a_call() {
    for operation in Operation::ALL {
        assert_eq!(Operation::from_code(operation as u16), Some(operation));
        let call = crate::Syscall::from_number(operation as u64);
        assert_eq!(call.is_some(), (operation as u16) < 1024, "{operation:?}");
    }
    let codes = (0..=u16::MAX).filter_map(Operation::from_code);
    assert_eq!(codes.count(), Operation::ALL.len());
}

#[test]
fn sizes_that_can_not_be_are_refused() {
    let decode = |entries, completions| {
        let sizes = SubmissionArgs::new(entries, completions).decode();
        sizes.map(|(geometry, _)| (geometry.entries, geometry.completions))
    };
    assert_eq!(decode(1, 0), Ok((1, 2)));
    assert_eq!(decode(4096, 8192), Ok((4096, 8192)));
    for (args, error) in crate::impossible::SUBMISSIONS {
        assert_eq!(args.decode().err(), Some(*error), "{args:?}");
    }
}

#[test]
fn a_registered_handle_keeps_its_fields() {
    let id = Registered::new(0xfffe, 0x8001);
    assert_eq!((id.slot(), id.generation()), (0xfffe, 0x8001));
    assert_eq!(id.bits(), 0x8001_fffe);
    assert_eq!(Registered::from_bits(id.bits()), Some(id));
    assert_eq!(id.next(), Some(Registered::new(0xfffe, 0x8002)));
    assert_eq!(Registered::new(1, u16::MAX).next(), None);
    assert_eq!(Registered::from_bits(5), None);
    assert_eq!(Registered::from_bits(1 << 32 | 1 << 16), None);
}
