//! The benchmark alone, without the server: what `rookeeper bench` runs.
fn main() -> std::process::ExitCode {
    rookeeper_bench::run(std::env::args_os())
}
