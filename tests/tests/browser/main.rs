//! Real browsers: a person finds what failed and reruns it, every page is fit for everybody, and nothing needs scripts.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

mod browser;
mod deeds;
mod live;
mod oidc;
mod settings;
mod wide;

use serde_json::json;
use tests::server::Server;

use crate::browser::{Browser, DARK, DESK, Kind, PHONE, PLAIN};

#[tokio::test]
async fn a_person_finds_runs_and_reruns_a_task() {
    let server = Server::start("browser", &["--examples"]).await.unwrap();
    let browser = Browser::start(&server, DESK).await;

    // Whoever is not signed in does so, and is where they wanted to be. The DAG is paused, as every new one.
    browser.open("/dags").await;
    assert!(browser.text("h1").await.contains("Sign in"));
    browser.sign_in(&server).await;
    assert!(browser.text("#dag-hello").await.contains("paused"));
    browser.click("#dag-hello td a").await;
    browser.see(".grid, .empty", "It has never run").await;

    // Trigger: the run waits and says why; unpause, and it runs while we look, without a reload.
    browser.follow("Trigger…").await;
    browser.fill("textarea[name=conf]", r#"{"name": "<b>you</b>"}"#).await;
    browser.press("Trigger").await;
    browser.see("main", "It waits until the DAG is unpaused").await;
    let run = browser.path().await;
    browser.run("window.mark = 'not reloaded'").await;
    let token = server.token().await.unwrap();
    unpause(&server, &token, "hello").await;
    browser.see(".title .state", "success").await;
    assert_eq!(browser.run("return window.mark").await, "not reloaded");

    // The task, and what it said, in the viewer's words.
    browser.click("#task-greet a").await;
    browser.see("#log", "hello, <b>you</b>").await;
    browser.fill("main input[type=search]", "nothing like it").await;
    browser.keys("\u{e007}").await;
    browser.see("#log", "No line is like that").await;
    browser.follow("Inputs and outputs").await;
    browser.see("pre.json", "hello, <b>you</b>").await;

    // Clear shows first what it would do, and follows what is ticked; then does it and says so.
    browser.follow("Clear…").await;
    browser.see("h1", "Clear 3 task instances?").await;
    browser.click("input[name=downstream]").await;
    browser.see("h1", "Clear 1 task instance?").await;
    browser.click("input[name=downstream]").await;
    browser.see("h1", "Clear 3 task instances?").await;
    browser.press("Clear").await;
    browser.see("[role=status]", "3 task instances cleared").await;
    browser.see("#task-done", "success").await;
    browser.click("#task-greet a").await;
    browser.see(".tries", "Try 2").await;

    // A mark: the run fails because somebody says so.
    browser.open(&run).await;
    browser.follow("Mark failed…").await;
    browser.press("Mark as failed").await;
    browser.see(".title .state", "failed").await;
    a_graph_is_zoomed_and_dragged(&browser).await;
    walks_and_leaves(&browser).await;
    browser.stop().await;
    server.stop().await;
}

async fn a_graph_is_zoomed_and_dragged(browser: &Browser) {
    browser.open("/dags/example_groups/graph").await;
    let width =
        async || browser.run("return document.querySelector('.zoomable svg').clientWidth").await.as_f64().unwrap();
    // At first it is as large as it fits, or as can still be read.
    let first = width().await;
    browser.press("+").await;
    assert!(width().await > first);
    browser.press("1:1").await;
    let natural = width().await;
    assert!(first > natural && first <= 1.51 * natural, "{first} of {natural}");
    browser.run("document.querySelector('.zoomable').focus()").await;
    browser.keys("++++++++").await;
    let zoomed = width().await;
    assert!(zoomed > 3.9 * natural, "{zoomed} of {natural}");
    // A page that has changed keeps the zoom.
    browser.run("return update()").await;
    browser.run("document.querySelector('.zoomable').scrollTo(0, 0)").await;
    browser.drag((700.0, 500.0), (500.0, 450.0)).await;
    let scrolled = browser.run("return document.querySelector('.zoomable').scrollLeft").await;
    assert_eq!((scrolled.as_f64(), width().await), (Some(200.0), zoomed));
    browser.press("Fit").await;
    let room = browser.run("return document.querySelector('.zoomable').clientWidth").await.as_f64().unwrap();
    assert!(width().await <= room);
}

async fn walks_and_leaves(browser: &Browser) {
    // The grid is walked with the arrow keys; a page that does not exist says so; who signs out is out.
    browser.open("/dags/hello").await;
    browser.run("document.querySelector('.grid th.run a').focus()").await;
    browser.keys("\u{e015}").await;
    assert_eq!(browser.run("return document.activeElement.className").await, "cell success");
    browser.keys("\u{e007}").await;
    browser.see("h1", "greet").await;
    // Beside a task is the grid, and in it where we are; it is walked, too.
    browser.run("document.querySelector('.pane .cell[aria-current]').focus()").await;
    browser.keys("\u{e015}\u{e007}").await;
    browser.see("h1", "count").await;
    assert_eq!(browser.run("return document.querySelectorAll('.pane tr.here .cell[aria-current]').length").await, 1);
    browser.click(".pane th.here a").await;
    browser.see("h1", "manual__").await;
    browser.open("/dags/nothing").await;
    assert!(browser.text("h1").await.contains("Not found"));
    browser.open("/account").await;
    browser.press("Sign out").await;
    browser.open("/dags").await;
    assert!(browser.text("h1").await.contains("Sign in"));
}

async fn unpause(server: &Server, token: &str, dag: &str) {
    send(server, token, "PATCH", &format!("/dags/{dag}"), json!({ "is_paused": false })).await;
}

async fn send(server: &Server, token: &str, method: &str, path: &str, body: serde_json::Value) {
    let request = reqwest::Client::new().request(method.parse().unwrap(), format!("{}/api/v2{path}", server.url()));
    request.bearer_auth(token).json(&body).send().await.unwrap().error_for_status().unwrap();
}

/// Runs that succeeded, failed, wait and run, with groups, mapped tasks and long names.
async fn history(server: &Server) {
    let token = server.token().await.unwrap();
    for dag in ["example_etl", "example_groups", "example_mapping", "example_retry", "example_slow", "example_pools"] {
        unpause(server, &token, dag).await;
        for run in ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "one", "two"] {
            let body = json!({ "logical_date": null, "dag_run_id": run, "note": "<script>alert(1)</script>" });
            send(server, &token, "POST", &format!("/dags/{dag}/dagRuns"), body).await;
        }
    }
    let report = serde_json::from_str::<serde_json::Value>(include_str!("report.json")).unwrap();
    let told = reqwest::Client::new().post(format!("{}/api/streaming/reports", server.url())).bearer_auth(&token);
    told.json(&report).send().await.unwrap().error_for_status().unwrap();
    for dag in ["example_etl", "example_groups", "example_mapping"] {
        send(server, &token, "GET", &format!("/dags/{dag}/dagRuns/two/wait?interval=1"), json!({})).await;
    }
}

const PAGES: [(&str, &str); 35] = [
    ("home", "/"),
    ("dags", "/dags"),
    ("dags-none", "/dags?q=nothing"),
    ("grid", "/dags/example_groups"),
    ("grid-mapped", "/dags/example_mapping"),
    ("graph", "/dags/example_groups/graph"),
    ("dag-runs", "/dags/example_etl/runs"),
    ("runs-chosen", "/runs/chosen?deed=clear&run=example_etl/one&run=example_etl/two"),
    ("dag-tasks", "/dags/example_retry/tasks"),
    ("versions", "/dags/example_etl/versions"),
    ("calendar", "/dags/example_daily/calendar"),
    ("code", "/dags/example_etl/code"),
    ("details", "/dags/example_params/details"),
    ("delete", "/dags/example_params/delete"),
    ("trigger", "/dags/example_params/trigger"),
    ("run", "/dags/example_retry/runs/one"),
    ("gantt", "/dags/example_groups/runs/one?view=gantt"),
    ("run-graph", "/dags/example_retry/runs/one?view=graph"),
    ("task", "/dags/example_retry/runs/one/tasks/boom"),
    ("act", "/dags/example_retry/runs/one/act/clear?task=boom&downstream=true"),
    ("runs", "/runs"),
    ("tasks", "/tasks"),
    ("tasks-chosen", "/tasks/chosen?deed=clear&instance=1&downstream=true"),
    ("pools", "/pools"),
    ("streaming", "/streaming"),
    ("backfills", "/backfills"),
    ("dag-backfills", "/dags/example_daily/backfills?from=2026-01-01&to=2026-01-05"),
    ("assets", "/assets"),
    ("asset", "/assets/1"),
    ("variables", "/variables"),
    ("connections", "/connections"),
    ("users", "/users"),
    ("account", "/account"),
    ("audit", "/audit"),
    ("health", "/health"),
];

#[tokio::test]
async fn every_page_is_fit_for_everybody() {
    let server = Server::start("fit", &["--examples"]).await.unwrap();
    history(&server).await;
    let mut faults = Vec::new();
    for kind in [DESK, DARK, PHONE] {
        let browser = Browser::start(&server, kind).await;
        browser.sign_in(&server).await;
        goes_by_the_menu(&browser, kind).await;
        for (name, path) in PAGES {
            browser.open(path).await;
            browser.text("h1").await;
            browser.shot(name).await;
            let wrong = browser.violations().await.into_iter();
            faults.extend(wrong.map(|text| format!("{path} ({}): {text}", kind.name)));
            let overflow = browser.overflow().await;
            if overflow > 0 {
                faults.push(format!("{path} ({}): wider than its window by {overflow} px", kind.name));
            }
        }
        browser.stop().await;
    }
    server.stop().await;
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// A phone has a button for what a desk has room for.
async fn goes_by_the_menu(browser: &Browser, kind: Kind) {
    browser.open("/dags").await;
    if kind.name == PHONE.name {
        browser.click("header .menu").await;
        browser.click("header nav summary").await;
        browser.shot("menu").await;
        browser.click("header nav summary").await;
        // What lies below it is not there to be touched.
        let wrong = browser.violations_of("header").await;
        assert!(wrong.is_empty(), "the menu: {wrong:?}");
    }
    browser.click("header nav summary").await;
    browser.click("header nav a[href='/pools']").await;
    browser.see("h1", "Pools").await;
}

#[tokio::test]
async fn nothing_needs_scripts() {
    let server = Server::start("plain", &["--examples"]).await.unwrap();
    let browser = Browser::start(&server, PLAIN).await;
    browser.sign_in(&server).await;
    browser.open("/dags?q=example_etl").await;
    browser.click("#dag-example_etl button.switch").await;
    browser.click("#dag-example_etl button.switch[aria-checked=true]").await;
    browser.click("#dag-example_etl button.switch[aria-checked=false]").await;
    browser.wait_for("#dag-example_etl button.switch[aria-checked=true]").await;
    browser.click("#dag-example_etl button.star").await;
    browser.open("/dags").await;
    browser.follow("★ Favorites").await;
    browser.see("h1", "DAGs 1").await;
    browser.click("#dag-example_etl button.star[aria-pressed=true]").await;
    browser.see(".empty", "None of your favorites is like that").await;
    browser.open("/dags/example_etl/trigger").await;
    browser.press("Trigger").await;
    // The page loads itself anew until the run has ended.
    browser.wait_for(".title .state.success").await;
    browser.follow("Clear…").await;
    browser.press("Clear").await;
    browser.wait_for("[role=status]").await;
    browser.wait_for(".title .state.success").await;
    browser.open("/dags/example_etl/runs").await;
    browser.press("Delete…").await;
    browser.see("h1", "No run is chosen").await;
    browser.open("/dags/example_etl/runs").await;
    browser.click("td input[name=run]").await;
    browser.press("Delete…").await;
    browser.see("h1", "Delete 1 run?").await;
    browser.press("Delete").await;
    browser.see("[role=status]", "1 run deleted").await;
    browser.open("/pools").await;
    browser.click("details.add > summary").await;
    browser.fill("form.entry input[name=name]", "narrow").await;
    browser.press("Create pool").await;
    browser.wait_for("#pool-narrow").await;
    browser.stop().await;
    server.stop().await;
}
