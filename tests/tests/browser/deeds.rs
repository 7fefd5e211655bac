//! What a person does to runs and tasks, by hand: ticks, marks, notes, orders, downloads; and how they want it shown.

use serde_json::json;
use tests::server::Server;

use crate::{
    browser::{Browser, DESK, PLAIN},
    send, unpause,
};

/// A run of `example_retry`: `ok` succeeded, `boom` failed, `after` waited for it.
async fn failed(server: &Server, run: &str) {
    let token = server.token().await.unwrap();
    unpause(server, &token, "example_retry").await;
    let body = json!({ "logical_date": null, "dag_run_id": run });
    send(server, &token, "POST", "/dags/example_retry/dagRuns", body).await;
    send(server, &token, "GET", &format!("/dags/example_retry/dagRuns/{run}/wait?interval=1"), json!({})).await;
}

#[tokio::test]
async fn every_deed_can_be_done_by_hand() {
    let server = Server::start("deeds", &["--examples"]).await.unwrap();
    let browser = Browser::start(&server, PLAIN).await;
    browser.sign_in(&server).await;
    failed(&server, "one").await;
    failed(&server, "two").await;
    failed(&server, "three").await;
    why_it_failed_and_again(&browser).await;
    tasks_are_ticked(&browser).await;
    runs_are_ticked(&browser).await;
    notes_are_written(&browser).await;
    roles_are_set(&browser).await;

    browser.open("/dags/example_daily/calendar?year=2024").await;
    browser.follow("← 2023").await;
    browser.see("nav[aria-label=Year] strong", "2023").await;
    browser.open("/dags/example_etl").await;
    browser.follow("Code").await;
    browser.press("Show").await;
    browser.see("pre.code", "loaded {} rows").await;
    browser.open("/dags/example_retry/runs/one").await;
    browser.follow("Audit log").await;
    browser.see("table", "trigger").await;
    browser.stop().await;
    server.stop().await;
}

/// From Home to the cause is one press; two more, and it runs again.
async fn why_it_failed_and_again(browser: &Browser) {
    browser.open("/").await;
    browser.click(".card.alarm td a").await;
    browser.see("h1", "boom").await;
    browser.see("main .note.bad", "boom on purpose").await;
    browser.follow("Clear…").await;
    browser.press("Clear").await;
    browser.see("[role=status]", "2 task instances cleared").await;
    browser.wait_for(".title .state.success").await;
}

async fn tasks_are_ticked(browser: &Browser) {
    browser.open("/dags/example_retry/runs/one").await;
    browser.press("Mark as success…").await;
    browser.see("h1", "No task is chosen").await;
    browser.open("/dags/example_retry/runs/one").await;
    browser.click("#task-boom input[name=instance]").await;
    browser.press("Mark as success…").await;
    browser.see("h1", "Mark as success 2 task instances?").await;
    browser.see("table", "begins again").await;
    browser.press("Mark as success").await;
    browser.see("[role=status]", "Marked as success").await;
    browser.see("#task-after", "success").await;
    browser.see(".title .state", "success").await;

    browser.open("/tasks?q=boom&state=failed").await;
    browser.click("td input[name=instance]").await;
    browser.press("Clear…").await;
    browser.see("h1", "Clear 1 task instance?").await;
    browser.click("input[name=downstream]").await;
    browser.press("Show what would change").await;
    browser.see("h1", "Clear 2 task instances?").await;
    browser.follow("Cancel").await;
    browser.see(".title .count", "1").await;
    browser.click("td input[name=instance]").await;
    browser.press("Mark as skipped…").await;
    browser.press("Mark as skipped").await;
    browser.see("[role=status]", "Marked as skipped").await;
    assert_eq!(browser.path().await, "/tasks", "it leads back to the list");
    browser.see(".empty", "No task instance is like that").await;
}

async fn runs_are_ticked(browser: &Browser) {
    browser.open("/runs?q=example_retry").await;
    browser.click("#run-example_retry-two input[name=run]").await;
    browser.press("Mark as failed…").await;
    browser.see("h1", "Mark as failed 1 run?").await;
    browser.press("Mark as failed").await;
    browser.see("[role=status]", "1 run marked as failed").await;
    browser.see("#run-example_retry-two", "failed").await;
    browser.click("#run-example_retry-two input[name=run]").await;
    browser.press("Delete…").await;
    browser.press("Delete").await;
    browser.see("[role=status]", "1 run deleted").await;
    browser.see(".title .count", "2").await;
}

async fn notes_are_written(browser: &Browser) {
    for (page, what) in [("", "of the run"), ("/tasks/boom", "of the task")] {
        browser.open(&format!("/dags/example_retry/runs/one{page}")).await;
        browser.click("details summary.small").await;
        browser.fill("input[name=note]", &format!("<i>note</i> {what}")).await;
        browser.press("Save").await;
        browser.see("[role=status]", "The note is saved").await;
        browser.see(".remark", &format!("<i>note</i> {what}")).await;
    }
    browser.open("/dags/example_retry/runs/one").await;
    browser.see("#task-boom", "of the task").await;
}

async fn roles_are_set(browser: &Browser) {
    browser.open("/users").await;
    browser.click("details.add > summary").await;
    browser.fill("form.entry input[name=username]", "hopper").await;
    browser.press("Create user and show the password").await;
    let role = |text: &'static str| browser.see("#user-hopper td:nth-child(2)", text);
    role("viewer").await;
    browser.click("#user-hopper details summary").await;
    browser.fill("#user-hopper input[name=dag_id]", "hello").await;
    browser.click("#user-hopper form[action$='/grant'] button").await;
    role("of hello").await;
    let granted = browser.text("#user-hopper td:nth-child(2)").await;
    browser.click("#user-hopper details summary").await;
    browser.press("Take hello back").await;
    browser.changes("#user-hopper td:nth-child(2)", &granted).await;
    browser.click("#user-hopper details summary").await;
    browser.click("#user-hopper select[name=role] option:nth-child(4)").await;
    browser.click("#user-hopper form[action='/users/hopper'] button").await;
    role("op").await;
    browser.click("#user-hopper details summary").await;
    browser.click("#user-hopper details.confirm:last-of-type > summary").await;
    browser.press("Delete hopper").await;
    browser.see("[role=status]", "hopper is deleted").await;
}

#[tokio::test]
async fn it_is_shown_as_the_viewer_wants_it() {
    let server = Server::start("shown", &["--examples"]).await.unwrap();
    let browser = Browser::start(&server, DESK).await;
    browser.sign_in(&server).await;
    failed(&server, "one").await;

    // Colours: as the system has them, then as they were chosen, on whatever page.
    let ground = async || browser.run("return getComputedStyle(document.body).backgroundColor").await;
    browser.open("/dags?q=etl").await;
    let light = ground().await;
    browser.click("button.theme").await;
    browser.wait_for("html.dark").await;
    assert_eq!(browser.path().await, "/dags");
    assert_ne!(ground().await, light);
    browser.open("/runs").await;
    browser.click("html.dark button.theme").await;
    browser.wait_for("html.light").await;
    assert_eq!(ground().await, light);

    // From wherever one is, a DAG is a key and some letters away.
    browser.keys("\u{e009}k").await;
    browser.keys("\u{e000}retry\u{e007}").await;
    browser.see("h1", "DAGs 1").await;
    browser.wait_for("#dag-example_retry").await;

    // The tasks of a run in another order, without a reload.
    browser.open("/dags/example_retry/runs/one").await;
    let tasks = async || {
        let rows = "return [...document.querySelectorAll('td.name a')].map((one) => one.textContent).join(' ')";
        browser.run(rows).await.as_str().unwrap().to_owned()
    };
    assert_eq!(tasks().await, "ok boom after");
    browser.follow("Task ↕").await;
    browser.wait_for("th[aria-sort=ascending]").await;
    assert_eq!(tasks().await, "after boom ok");
    browser.click("th input[data-all]").await;
    let ticked = "return document.querySelectorAll('td input:checked').length";
    assert_eq!(browser.run(ticked).await, 3);

    // A log as a file.
    browser.open("/dags/example_retry/runs/one/tasks/boom").await;
    let file = "const link = [...document.querySelectorAll('a')].find((one) => one.textContent === 'Download');
        return fetch(link.href).then(async (got) => [got.headers.get('content-disposition'), await got.text()])";
    let file = browser.run(file).await;
    assert!(file[0].as_str().unwrap().starts_with("attachment"), "{file}");
    assert!(file[1].as_str().unwrap().contains("boom on purpose"), "{file}");
    browser.stop().await;
    server.stop().await;
}
