//! What a program for Handover links: system calls, start-up, heap, rings.
