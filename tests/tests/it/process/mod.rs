//! The binary as a process: crashes, idleness, address space, memory.
