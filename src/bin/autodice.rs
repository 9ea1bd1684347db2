//! The workbench: models, specs and plans, without MPI.

fn main() -> std::process::ExitCode {
    autodice::cli::workbench::main()
}
