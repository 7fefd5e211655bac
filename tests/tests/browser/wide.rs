//! What is large: a DAG of 5,000 tasks with 25 runs of it, and a log of 100,000 lines.

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tests::server::Server;

use crate::{
    browser::{Browser, DESK},
    send, unpause,
};

const TASKS: i32 = 5_000;

/// The graph of another DAG with other tasks, and runs that ended.
const WIDE: &str = "
    with graph as (
        select v.graph || jsonb_build_object('dag_id', 'wide', 'edges', '[]'::jsonb, 'tasks', (
            select jsonb_agg(v.graph -> 'tasks' -> 0 || jsonb_build_object('task_id', 't' || n)) from generate_series(1, $1) n
        )) as graph
        from dag d join dag_version v on v.version_id = d.current_version_id where d.dag_id = 'example_etl'
    ), version as (
        insert into dag_version (dag_id, number, graph_hash, graph) select 'wide', 1, 'wide', graph from graph
        returning version_id
    ), wide as (
        insert into dag (dag_id, current_version_id) select 'wide', version_id from version
    ), runs as (
        insert into dag_run (dag_id, run_id, version_id, run_type, state, run_after, triggered_by, queued_at, start_date,
                             end_date, run_day, unfinished)
        select 'wide', 'run_' || n, version_id, 'manual', 'success', at, 'test', at, at, at + interval '1 minute', at::date, 0
        from version, generate_series(1, 25) n, lateral (select now() - n * interval '1 hour' as at) t
        returning run_key, start_date, end_date
    )
    insert into task_instance (run_key, node, dag_id, task_id, state, try_number, max_tries, queued_at, start_date, end_date)
    select run_key, n - 1, 'wide', 't' || n, 'success', 1, 0, start_date, start_date, end_date
    from runs, generate_series(1, $1) n";

#[tokio::test]
async fn a_grid_of_5_000_tasks_is_at_hand() {
    let server = Server::start("wide", &["--examples"]).await.unwrap();
    let mut conn = PgConnection::connect(server.database()).await.unwrap();
    sqlx::query(AssertSqlSafe(WIDE)).bind(TASKS).execute(&mut conn).await.unwrap();
    let browser = Browser::start(&server, DESK).await;
    browser.sign_in(&server).await;
    browser.open("/dags/wide").await;
    browser.see(".pager", "1–250 of 5000").await;
    let cells = "return document.querySelectorAll('.grid .cell.success').length";
    assert_eq!(browser.run(cells).await, 250 * 25);
    browser.run("document.querySelector('.grid td a').focus()").await;
    browser.keys("\u{e015}\u{e014}").await;
    let focus = browser.run("return document.activeElement.getAttribute('href')").await;
    assert_eq!(focus, "/dags/wide/runs/run_24/tasks/t2", "the arrow keys move through it");
    browser.fill("main input[type=search]", "t4999").await;
    browser.keys("\u{e007}").await;
    browser.comes_to(cells, 25).await;
    browser.shot("grid-wide").await;
    // What the browser itself says of it, for whoever looks: a figure, and no assertion.
    browser.open("/dags/wide").await;
    let told = "return { first_paint_ms: performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null,
                         sent_bytes: performance.getEntriesByType('navigation')[0].encodedBodySize }";
    let told = browser.run(told).await;
    assert!(told["sent_bytes"].as_i64().unwrap() <= 500_000, "{told}");
    browser.keep("grid-wide", &told);
    browser.stop().await;
    server.stop().await;
}

const CHATTY: &str = "
    insert into task_log (run_day, instance_key, try_number, logged_at, level, logger, message)
    select r.run_day, t.instance_key, 1, now(), case when n = 7 then 'WARN' else 'INFO' end, 'chatty', 'line number ' || n
    from task_instance t join dag_run r using (run_key), generate_series(1, 100000) n
    where r.run_id = 'chatty' and t.task_id = 'extract' order by n";

#[tokio::test]
async fn a_log_of_100_000_lines_is_at_hand() {
    let server = Server::start("chatty", &["--examples"]).await.unwrap();
    let token = server.token().await.unwrap();
    unpause(&server, &token, "example_etl").await;
    let run = json!({ "logical_date": null, "dag_run_id": "chatty" });
    send(&server, &token, "POST", "/dags/example_etl/dagRuns", run).await;
    send(&server, &token, "GET", "/dags/example_etl/dagRuns/chatty/wait?interval=1", json!({})).await;
    let mut conn = PgConnection::connect(server.database()).await.unwrap();
    sqlx::query(CHATTY).execute(&mut conn).await.unwrap();
    let browser = Browser::start(&server, DESK).await;
    browser.sign_in(&server).await;
    browser.open("/dags/example_etl/runs/chatty/tasks/extract").await;
    browser.see("#log", "line number 100000").await;
    let lines = "return document.querySelectorAll('#log > div').length";
    assert_eq!(browser.run(lines).await, 2_000, "a page is no longer than it can be read");
    let is_at_end =
        "const log = document.querySelector('#log'); return log.scrollHeight - log.scrollTop - log.clientHeight < 40";
    browser.comes_to(is_at_end, true).await;
    browser.follow("Earlier lines").await;
    browser.see("#log > div:last-child", "line number 98000").await;
    browser.follow("Later lines").await;
    browser.see("#log > div:last-child", "line number 100000").await;
    browser.fill("main input[type=search]", "NUMBER 50000").await;
    browser.keys("\u{e007}").await;
    browser.see("#log mark", "number 50000").await;
    assert_eq!(browser.run(lines).await, 1);
    // A line has an address, where it stands among those around it.
    browser.click("#log a").await;
    browser.see("#log > div:target", "line number 50000").await;
    browser.open("/dags/example_etl/runs/chatty/tasks/extract?level=WARN").await;
    browser.see("#log", "line number 7").await;
    assert_eq!(browser.run(lines).await, 1);
    browser.stop().await;
    server.stop().await;
}
