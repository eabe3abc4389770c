//! The binary as a process: crashes, idleness, limits of the machine, starts and stops, and the command line.

mod archive;
mod backup;
mod calls;
mod cli;
mod crash;
mod idle;
mod ledger;
mod lifecycle;
mod limits;
mod migrate;
mod project;
mod script_tests;
mod session;
mod transcript;
mod tutorial;
