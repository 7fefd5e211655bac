//! Clients that nobody here wrote: what talks to Airflow talks to us.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::path::Path;

use local::{child::Program, python};
use tests::server::{ADMIN, Server};

#[tokio::test]
async fn airflows_own_client_walks_every_resource() {
    let server = Server::start("clients", &["--examples"]).await.unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
    let logs = server.state().logs();
    let requirements = folder.join("requirements.txt");
    let packages = python::Packages::File(&requirements);
    let venv = python::environment("airflow-client", &python::any(), &packages, &logs).await.unwrap();
    let python = venv.join("bin/python");
    let walk = Program::new("walk", python, &logs).args([folder.join("airflow_client_walk.py")]).args([server.url()]);
    let walk = walk.envs([("USERNAME", ADMIN), ("PASSWORD", server.password())]);
    walk.complete().await.unwrap();
    server.stop().await;
}
