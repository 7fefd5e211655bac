//! What the house is furnished with, by hand: variables, connections, users, tokens, backfills, assets. Without scripts.

use tests::server::Server;

use crate::browser::{Browser, PLAIN};

#[tokio::test]
async fn everything_is_set_by_hand() {
    let server = Server::start("settings", &["--examples"]).await.unwrap();
    let browser = Browser::start(&server, PLAIN).await;
    browser.sign_in(&server).await;
    secrets_stay_secret(&browser).await;
    a_backfill_is_shown_before_it_is_made(&browser).await;

    browser.open("/assets").await;
    browser.follow("warehouse/example_orders").await;
    browser.fill("form.entry textarea[name=extra]", r#"{"rows": 3}"#).await;
    browser.press("Update it").await;
    browser.see("table", r#"{"rows":3}"#).await;

    // A token is shown once, works, and is gone when it is revoked.
    browser.open("/account").await;
    browser.fill("form.entry input[name=name]", "laptop").await;
    browser.press("Create token and show it").await;
    let token = browser.text("#token").await;
    let dags = || reqwest::Client::new().get(format!("{}/api/v2/dags", server.url())).bearer_auth(&token).send();
    assert_eq!(dags().await.unwrap().status(), 200);
    browser.open("/account").await;
    assert!(!browser.text("main").await.contains(&token));
    browser.click("details.confirm summary").await;
    browser.press("Revoke laptop").await;
    browser.see("[role=status]", "The token is revoked").await;
    browser.see("main", "Programs sign in with a token").await;
    assert_eq!(dags().await.unwrap().status(), 403);

    // A new user's password is shown once; with it they come in, and see what a viewer may see.
    browser.open("/users").await;
    browser.click("details.add > summary").await;
    browser.fill("form.entry input[name=username]", "grace").await;
    browser.press("Create user and show the password").await;
    let password = browser.text("#password").await;
    browser.open("/account").await;
    browser.press("Sign out").await;
    browser.wait_for("input[name=password]").await;
    browser.sign_in_as("grace", &password).await;
    browser.open("/variables").await;
    browser.see("main", "this needs the role op").await;
    assert!(!browser.text("main").await.contains("region"));
    browser.stop().await;
    server.stop().await;
}

async fn secrets_stay_secret(browser: &Browser) {
    browser.open("/variables").await;
    for (key, value) in [("region", "<b>eu</b>"), ("api_token", "hunter2")] {
        browser.click("details.add > summary").await;
        browser.fill("form.entry input[name=key]", key).await;
        browser.fill("form[action='/variables'] textarea", value).await;
        browser.press("Create variable").await;
        browser.wait_for(&format!("#variable-{key}")).await;
    }
    assert!(browser.text("#variable-region").await.contains("<b>eu</b>"));
    let secret = browser.text("#variable-api_token").await;
    assert!(secret.contains("secret") && !secret.contains("hunter2"), "{secret}");

    browser.open("/connections").await;
    browser.click("details.add > summary").await;
    for (field, text) in [("connection_id", "warehouse"), ("conn_type", "postgres"), ("password", "hunter2")] {
        browser.fill(&format!("form[action='/connections'] input[name={field}]"), text).await;
    }
    browser.press("Create connection").await;
    browser.wait_for("#connection-warehouse").await;
    assert!(!browser.source().await.contains("hunter2"));
}

async fn a_backfill_is_shown_before_it_is_made(browser: &Browser) {
    browser.open("/dags/example_daily/backfills?from=2026-01-01&to=2026-01-05").await;
    browser.see("#plan", "5 runs would be made").await;
    browser.press("Run them").await;
    browser.see("#backfill-1", "2026-01-05").await;
    browser.open("/backfills").await;
    browser.click("details.confirm summary").await;
    browser.press("Cancel backfill 1").await;
    browser.see("[role=status]", "Backfill 1 is cancelled").await;
    browser.see("#backfill-1", "completed").await;
}
