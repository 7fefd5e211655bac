//! The program `streamcommerce`: the command line with the DAGs of this workspace.

fn main() -> std::process::ExitCode {
    cli::run_with_examples(dags::dags(), dags::examples)
}
