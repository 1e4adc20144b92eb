//! The programs of the check, assembled by hand: system call 1 exits with rdi, 2 sums its arguments, 3 notes rdi.

/// rbx keeps the data address: a system call must not lose it, nor rdi, rsi, rdx, r8, r9, r10.
/// Sums six arguments by CALL_NOTHING, writes the sum to the lazy page, reads it back, exits with it.
pub const SUM: &[u8] = &[
    0x48, 0x89, 0xf3, // mov rbx, rsi
    0xbf, 1, 0, 0, 0, // mov edi, 1
    0xbe, 2, 0, 0, 0, // mov esi, 2
    0xba, 3, 0, 0, 0, // mov edx, 3
    0x41, 0xba, 4, 0, 0, 0, // mov r10d, 4
    0x41, 0xb8, 5, 0, 0, 0, // mov r8d, 5
    0x41, 0xb9, 6, 0, 0, 0, // mov r9d, 6
    0xb8, 2, 0, 0, 0, // mov eax, CALL_NOTHING
    0x0f, 0x05, // syscall
    0x01, 0xf0, // add eax, esi
    0x89, 0x03, // mov [rbx], eax
    0x8b, 0x3b, // mov edi, [rbx]
    0xb8, 1, 0, 0, 0, // mov eax, CALL_EXIT
    0x0f, 0x05, // syscall
    0x90, // nop
];
/// Spins until r15 reaches 2^22, then leaves: the timer has to interrupt it.
pub const SPIN: &[u8] = &[
    0x41, 0xff, 0xc7, // inc r15d
    0x41, 0x0f, 0xba, 0xe7, 22, // bt r15d, 22
    0x73, 0xf6, // jnc -10
    0xb8, 1, 0, 0, 0, // mov eax, CALL_EXIT
    0x0f, 0x05, // syscall
    0x90, 0x90, // nop
];
pub const READ_HOLE: &[u8] = &[0x8b, 0x04, 0x25, 0x00, 0x30, 0x40, 0x00, 0x0f, 0x0b]; // mov eax, [0x403000]; ud2
pub const INVALID: &[u8] = &[0x0f, 0x0b]; // ud2
pub const PRIVILEGED: &[u8] = &[0xf4]; // hlt
/// rdtsc; mov ebx, eax; mov eax, CALL_NOTHING; syscall; rdtsc; sub eax, ebx; mov edi, eax; mov eax, CALL_MEASURE;
/// syscall; mov eax, CALL_EXIT; syscall
pub const MEASURE: &[u8] = &[
    0x0f, 0x31, 0x89, 0xc3, 0xb8, 2, 0, 0, 0, 0x0f, 0x05, 0x0f, 0x31, 0x29, 0xd8, 0x89, 0xc7, 0xb8,
    3, 0, 0, 0, 0x0f, 0x05, 0xb8, 1, 0, 0, 0, 0x0f, 0x05, 0x90,
];

/// movd xmm0, edi; mov eax, CALL_NOTHING; syscall; movd edi, xmm0; mov eax, CALL_EXIT; syscall
pub const KEEP: &[u8] = &[
    0x66, 0x0f, 0x6e, 0xc7, 0xb8, 2, 0, 0, 0, 0x0f, 0x05, 0x66, 0x0f, 0x7e, 0xc7, 0xb8, 1, 0, 0, 0,
    0x0f, 0x05,
];
/// movd edi, xmm0; mov eax, CALL_EXIT; syscall
pub const LOOK: &[u8] = &[0x66, 0x0f, 0x7e, 0xc7, 0xb8, 1, 0, 0, 0, 0x0f, 0x05];
