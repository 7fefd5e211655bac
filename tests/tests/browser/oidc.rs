//! Signing in at an `OpenID` provider that nobody here wrote.

use local::{
    child::{Child, Program},
    ports::{HOST, Ports},
    python,
};
use nix::sys::signal::Signal;
use serde_json::json;
use tests::{
    PATIENCE,
    server::{ADMIN, Server},
};

use crate::browser::{Browser, PLAIN};

/// The provider, with Grace of the data team, and with somebody who says that their name is that of the admin.
async fn provider(server: &Server, port: u16) -> Child {
    let (logs, port) = (server.state().logs(), port.to_string());
    let packages = python::Packages::Named(&["oidc-provider-mock==0.3.4"]);
    let venv = python::environment("oidc-provider", &python::any(), &packages, &logs).await.unwrap();
    let grace = json!({ "sub": "g-1", "preferred_username": "grace", "groups": ["data-team"] }).to_string();
    let eve = json!({ "sub": "e-1", "preferred_username": ADMIN, "groups": ["platform"] }).to_string();
    let program = Program::new("oidc-provider", venv.join("bin/oidc-provider-mock"), &logs);
    let program =
        program.args(["--port", &port, "--require-nonce", "true", "--user-claims", &grace, "--user-claims", &eve]);
    let mut child = program.spawn(Signal::SIGTERM).unwrap();
    let discovery = format!("http://{HOST}:{port}/.well-known/openid-configuration");
    child.wait_until(PATIENCE, async || reqwest::get(&discovery).await.is_ok()).await.unwrap();
    child
}

#[tokio::test]
async fn somebody_whom_a_provider_knows_signs_in() {
    let port = Ports::free().unwrap().bigquery;
    let settings = [
        ("STREAMCOMMERCE_OIDC_ISSUER", format!("http://{HOST}:{port}")),
        ("STREAMCOMMERCE_OIDC_CLIENT_ID", "streamcommerce".to_owned()),
        ("STREAMCOMMERCE_OIDC_CLIENT_SECRET", "hush".to_owned()),
        ("STREAMCOMMERCE_OIDC_ROLES", "data-team=user,platform=admin".to_owned()),
    ];
    let server = Server::start_with("oidc", &["--examples"], &settings).await.unwrap();
    let browser = Browser::start(&server, PLAIN).await;

    // Nobody is there to be asked: the page says so, and nobody is in.
    browser.open("/login?next=/dags/example_etl").await;
    browser.follow(&format!("Sign in with {HOST}")).await;
    browser.see("main", "did not say who you are").await;

    let provider = provider(&server, port).await;
    browser.open("/login?next=/dags/example_etl").await;
    browser.follow(&format!("Sign in with {HOST}")).await;
    browser.press("Deny").await;
    browser.see("main", "access_denied").await;

    browser.open("/login?next=/dags/example_etl").await;
    browser.follow(&format!("Sign in with {HOST}")).await;
    browser.press("g-1").await;
    browser.see("h1", "example_etl").await;
    browser.open("/account").await;
    browser.see("main", "grace").await;
    browser.see("main", "user").await;
    browser.press("Sign out").await;
    browser.wait_for("input[name=password]").await;

    // A name that somebody here has is not theirs for the asking; nor does an answer count that nobody asked for.
    browser.follow(&format!("Sign in with {HOST}")).await;
    browser.press("e-1").await;
    browser.see("main", "already exists").await;
    browser.open("/auth/oidc/callback?code=stolen&state=guessed").await;
    browser.see("main", "was not begun here").await;
    browser.open("/dags").await;
    browser.see("h1", "Sign in").await;

    let token = server.token().await.unwrap();
    let users = reqwest::Client::new().get(format!("{}/api/users", server.url())).bearer_auth(token);
    let users: serde_json::Value = users.send().await.unwrap().json().await.unwrap();
    let names: Vec<_> = users["users"].as_array().unwrap().iter().map(|user| &user["username"]).collect();
    assert_eq!(names, [ADMIN, "grace"]);
    browser.stop().await;
    provider.stop(PATIENCE).await;
    server.stop().await;
}
