//! The program: parses the command line, hands over, and exits with what comes back.

use std::process::ExitCode;

use clap::Parser as _;
use visiongate::surface::cli::{self, Cli};

/// Gives memory back when a burst of images is over. What the system's allocator keeps would count as used, and callers
/// be refused for it. It does so by threads of its own, where they can be had: those that took the memory may do nothing
/// any more, because callers are refused.
#[cfg(not(windows))]
#[global_allocator]
static MEMORY: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    let code = runtime.block_on(cli::run(cli));
    // A thread that still decodes a hostile image must not keep the process.
    runtime.shutdown_background();
    code
}
