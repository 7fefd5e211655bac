//! The program `streamcommerce`: the command line with the DAGs of this workspace.

fn main() -> std::process::ExitCode {
    cli::run(dags::dags())
}
