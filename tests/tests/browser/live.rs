//! What is shown follows what happens, without a reload, and what the viewer does with it is theirs.

use serde_json::json;
use tests::server::Server;

use crate::{
    browser::{Browser, DESK},
    send, unpause,
};

#[tokio::test]
async fn pages_follow_what_happens() {
    let server = Server::start("live", &["--examples"]).await.unwrap();
    let token = server.token().await.unwrap();
    let browser = Browser::start(&server, DESK).await;
    browser.sign_in(&server).await;
    switches_and_countdowns(&browser, &server, &token).await;
    the_grid_and_the_log(&browser, &server, &token).await;
    params_have_fields(&browser).await;
    zones_and_filters(&browser).await;
    browser.stop().await;
    server.stop().await;
}

async fn mark(browser: &Browser) {
    browser.run("window.mark = 'not reloaded'").await;
}

async fn assert_not_reloaded(browser: &Browser) {
    assert_eq!(browser.run("return window.mark").await, "not reloaded");
}

async fn switches_and_countdowns(browser: &Browser, server: &Server, token: &str) {
    browser.open("/dags?q=example_daily").await;
    mark(browser).await;
    // Somebody else unpauses it: the switch turns, and the next press pauses it.
    unpause(server, token, "example_daily").await;
    browser.wait_for("#dag-example_daily button.switch[aria-checked=true]").await;
    browser.see("#dag-example_daily td time[data-ticks=away]", "in ").await;
    assert_not_reloaded(browser).await;
    browser.open("/dags?q=example_daily").await;
    browser.click("#dag-example_daily button.switch[aria-checked=true]").await;
    browser.wait_for("#dag-example_daily button.switch[aria-checked=false]").await;
}

async fn the_grid_and_the_log(browser: &Browser, server: &Server, token: &str) {
    unpause(server, token, "example_slow").await;
    browser.open("/dags/example_slow").await;
    browser.see(".empty", "It has never run").await;
    mark(browser).await;
    send(server, token, "POST", "/dags/example_slow/dagRuns", json!({ "dag_run_id": "one", "logical_date": null }))
        .await;
    browser.wait_for(".grid .cell.running").await;
    assert_not_reloaded(browser).await;

    // The log of a task that runs; then somebody stops it, and its page says so.
    browser.open("/dags/example_slow/runs/one/tasks/nap").await;
    browser.see("#log", "good night").await;
    browser.see(".facts time[data-ticks=since]", " s").await;
    mark(browser).await;
    counts_by_itself(browser, ".facts time[data-ticks=since]").await;
    let failed = json!({ "new_state": "failed" });
    send(server, token, "PATCH", "/dags/example_slow/dagRuns/one/taskInstances/nap", failed).await;
    browser.see(".title .state", "failed").await;
    browser.see("main .note.bad", "marked failed").await;
    assert_not_reloaded(browser).await;
    browser.follow("Tries").await;
    browser.wait_for("svg.timeline.failed rect.ran").await;
    browser.open("/tasks?state=failed").await;
    browser.see("table", "nap").await;
    // Home leads to why it failed by one press, and from there it is cleared by two.
    browser.open("/").await;
    browser.click(".card a[href$='/runs/one/tasks/nap']").await;
    browser.follow("Clear…").await;
    browser.press("Clear").await;
    browser.see("[role=status]", "cleared").await;
}

/// At most what was still on its way is fetched meanwhile.
async fn counts_by_itself(browser: &Browser, css: &str) {
    let counted = "window.fetched = 0; const ask = window.fetch;
        window.fetch = (...what) => { window.fetched += 1; return ask(...what); };";
    browser.run(counted).await;
    for _ in 0..4 {
        let now = browser.text(css).await;
        browser.changes(css, &now).await;
    }
    let fetched = browser.run("return window.fetched").await;
    assert!(fetched.as_i64().unwrap() <= 1, "{fetched} pages for four seconds");
}

async fn params_have_fields(browser: &Browser) {
    browser.open("/dags/example_params/trigger").await;
    browser.fill("input[name='param.times']", "99").await;
    browser.press("Trigger").await;
    assert_eq!(browser.run("return document.querySelector(':invalid:not(form)').name").await, "param.times");
    browser.fill("input[name='param.times']", "3").await;
    browser.press("Trigger").await;
    browser.see("[role=status]", "Triggered").await;
    browser.see("pre.json", r#""times": 3"#).await;
    // Once more with the same: the form has what was said.
    browser.follow("Trigger again…").await;
    browser.wait_for("input[name='param.times']").await;
    assert_eq!(browser.run("return document.querySelector(\"input[name='param.times']\").value").await, "3");
}

async fn zones_and_filters(browser: &Browser) {
    browser.open("/dags/example_slow/runs/one/tasks/nap?try=1").await;
    let at = browser.text("#log time").await;
    browser.run("const zone = document.querySelector('#zone'); zone.value = 'Asia/Tokyo'; zone.dispatchEvent(new Event('change'))").await;
    let there = browser.text("#log time").await;
    assert_ne!(at, there, "lines of a log, too");
    assert_eq!((at.len(), &at[at.len() - 3..]), (there.len(), &there[there.len() - 3..]));
    browser.open("/runs").await;
    assert_eq!(browser.run("return document.querySelector('#zone').value").await, "Asia/Tokyo");
    // A choice is in the address, and whoever chooses by the keyboard stays where they are.
    mark(browser).await;
    browser.run("document.querySelector('select[name=state]').focus()").await;
    browser.keys("r").await;
    browser.see("h1", "Runs 1").await;
    assert_not_reloaded(browser).await;
    let here = browser.run("return location.search + ' ' + document.activeElement.name").await;
    assert_eq!(here, "?state=running state");
    browser.follow("Duration ↕").await;
    assert_eq!(
        browser.run("return document.querySelector('th[aria-sort=descending]').textContent.trim()").await,
        "Duration ↓"
    );
}
