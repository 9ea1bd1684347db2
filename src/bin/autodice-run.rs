//! The SPMD program: one process for each rank of a spec.

fn main() -> std::process::ExitCode {
    autodice::cli::run::main()
}
