//! The binary `picloud`. Everything it does is in the library, where tests can reach it.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    picloud_cli::main()
}
