//! Lists that are read from cursor to cursor.

use axum::http::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::World;

/// Seven runs; some have a date, some an end.
async fn seven_runs(pool: PgPool) -> World {
    let world = World::new(pool).await;
    for number in 1..=7 {
        let at = (number % 3 != 0).then(|| format!("2026-01-0{}T00:00:00Z", 8 - number));
        let run = json!({ "logical_date": at, "dag_run_id": format!("run_{number}"), "conf": { "odd": number % 2 } });
        let (status, made) = world.call(Method::POST, "/dags/example/dagRuns", &run.to_string()).await;
        assert_eq!(status, 200, "{made}");
    }
    for number in [2, 3, 6] {
        let path = format!("/dags/example/dagRuns/run_{number}");
        let (status, answer) = world.call(Method::PATCH, &path, r#"{"state": "failed"}"#).await;
        assert_eq!(status, 200, "{answer}");
    }
    world
}

/// A list: its path, its name and what its rows are told apart by.
struct List<'w> {
    world: &'w World,
    path: &'static str,
    plural: &'static str,
    id: fn(&Value) -> String,
}

impl List<'_> {
    async fn page(&self, query: &str) -> (Vec<String>, Value) {
        let (status, mut answer) = self.world.get(&format!("{}?{query}", self.path)).await;
        assert_eq!(status, 200, "{query}: {answer}");
        let rows = answer[self.plural].take();
        (rows.as_array().unwrap().iter().map(self.id).collect(), answer)
    }

    /// Every page from one on, by what it says of the next one or of the one before.
    async fn walk(&self, query: &str, first: String, way: &str) -> Vec<(Vec<String>, Value)> {
        let mut pages = vec![];
        let mut cursor = Some(first);
        while let Some(token) = cursor {
            assert!(pages.len() < 50, "{query}: it goes round");
            let (rows, answer) = self.page(&format!("{query}&cursor={token}")).await;
            cursor = answer[way].as_str().map(str::to_owned);
            pages.push((rows, answer));
        }
        pages
    }

    /// However long the pages are, they are the list, from its beginning and from its end.
    async fn is_whole_both_ways(&self, query: &str) {
        let (all, answer) = self.page(&format!("{query}&limit=100")).await;
        assert_eq!(
            [&answer["next_cursor"], &answer["previous_cursor"], &answer["total_entries_limit"]],
            [&Value::Null; 3]
        );
        for limit in [1, 2, 3, 100] {
            let query = format!("{query}&limit={limit}");
            let pages = self.walk(&query, String::new(), "next_cursor").await;
            let there: Vec<_> = pages.iter().flat_map(|(rows, _)| rows.clone()).collect();
            assert_eq!(there, all, "{query}");
            assert!(pages.iter().all(|(_, page)| page["total_entries"] == all.len()), "{query}");
            assert_eq!(pages[0].1["previous_cursor"], Value::Null, "{query}");
            let Some(back) = pages.last().unwrap().1["previous_cursor"].as_str() else { continue };
            let back = self.walk(&query, back.to_owned(), "previous_cursor").await;
            let mut again: Vec<_> = back.iter().rev().flat_map(|(rows, _)| rows.clone()).collect();
            again.extend(pages.last().unwrap().0.clone());
            assert_eq!(again, all, "{query}: backward");
            assert!(back.iter().all(|(_, page)| page["next_cursor"].is_string()), "{query}: it came from there");
        }
    }
}

fn run_id(row: &Value) -> String {
    row["dag_run_id"].as_str().unwrap().to_owned()
}

#[sqlx::test(migrations = "../migrations")]
async fn the_pages_of_a_cursor_are_the_list(pool: PgPool) {
    let world = seven_runs(pool).await;
    let runs = List { world: &world, path: "/dags/~/dagRuns", plural: "dag_runs", id: run_id };
    let one =
        ["id", "state", "dag_id", "run_id", "logical_date", "run_after", "start_date", "end_date", "duration", "conf"];
    for column in one {
        for query in [format!("order_by={column}"), format!("order_by=-{column}")] {
            runs.is_whole_both_ways(&query).await;
        }
    }
    for query in [
        "",
        "state=failed",
        "order_by=-end_date&order_by=logical_date",
        "order_by=logical_date&order_by=-run_id",
        "order_by=conf&order_by=-logical_date&order_by=id",
        "order_by=-state&order_by=-run_id&order_by=-id",
        "dag_version=1&order_by=-conf&order_by=run_id",
    ] {
        runs.is_whole_both_ways(query).await;
    }
    let row = |row: &Value| format!("{} {} {}", row["dag_run_id"], row["task_id"], row["map_index"]);
    let path = "/dags/~/dagRuns/~/taskInstances";
    let instances = List { world: &world, path, plural: "task_instances", id: row };
    for query in
        ["", "order_by=-logical_date", "order_by=state&order_by=-run_after", "order_by=-duration", "state=failed"]
    {
        instances.is_whole_both_ways(query).await;
    }
}

/// Of long lists the second half is read from the end.
#[sqlx::test(migrations = "../migrations")]
async fn pages_by_offset_are_the_list_wherever_they_begin(pool: PgPool) {
    let world = seven_runs(pool.clone()).await;
    let made = sqlx::query(
        "insert into dag_run (dag_id, run_id, version_id, run_type, state, logical_date, run_after, triggered_by, queued_at,
                              start_date, end_date, run_day, unfinished)
         select dag_id, 'old_' || n, version_id, 'manual', 'success', case when n % 2 = 0 then at end, at, 'test', at, at,
                at + (n % 5) * interval '1 minute', at::date, 0
         from (select dag_id, version_id from dag_run limit 1) as of, generate_series(1, 2338) as n,
              lateral (select now() - n * interval '1 hour' as at) as t",
    );
    made.execute(&pool).await.unwrap();
    let runs = List { world: &world, path: "/dags/~/dagRuns", plural: "dag_runs", id: run_id };
    for order in
        ["order_by=id", "order_by=-run_after", "order_by=logical_date", "order_by=-end_date", "order_by=-duration"]
    {
        let query = format!("{order}&limit=100");
        let pages = runs.walk(&query, String::new(), "next_cursor").await;
        let all: Vec<_> = pages.into_iter().flat_map(|(rows, _)| rows).collect();
        for at in
            [0, 1_000, 1_001, 1_170, 1_172, 1_173, 1_300, 2_244, 2_245, 2_246, 2_344, 2_345, 9_999, usize::MAX >> 1]
        {
            let (page, answer) = runs.page(&format!("{query}&offset={at}")).await;
            let expected: Vec<_> = all.iter().skip(at).take(100).collect();
            assert_eq!(
                (page.iter().collect(), &answer["total_entries"]),
                (expected, &json!(2_345)),
                "{order} from {at}"
            );
        }
    }
    let (none, answer) = runs.page("state=queued&offset=5000").await;
    assert_eq!((none.len(), answer["total_entries"].as_i64()), (0, Some(4)));
}

#[sqlx::test(migrations = "../migrations")]
async fn what_is_new_moves_no_row_to_another_page(pool: PgPool) {
    let world = seven_runs(pool).await;
    let runs = List { world: &world, path: "/dags/~/dagRuns", plural: "dag_runs", id: run_id };
    let query = "order_by=-id&limit=3";
    let (first, answer) = runs.page(&format!("{query}&cursor=&offset=5")).await;
    assert_eq!(first, ["run_7", "run_6", "run_5"], "beside a cursor an offset is not read");
    assert_eq!((&answer["total_entries"], &answer["total_entries_limit"]), (&json!(7), &json!(50_000)));
    let new = r#"{"logical_date": null, "dag_run_id": "new"}"#;
    assert_eq!(world.call(Method::POST, "/dags/example/dagRuns", new).await.0, 200);
    let (second, answer) = runs.page(&format!("{query}&cursor={}", answer["next_cursor"].as_str().unwrap())).await;
    assert_eq!(second, ["run_4", "run_3", "run_2"]);
    let back = answer["previous_cursor"].as_str().unwrap();
    let (first_again, answer) = runs.page(&format!("{query}&cursor={back}")).await;
    assert_eq!(first_again, first);
    let (newest, _) = runs.page(&format!("{query}&cursor={}", answer["previous_cursor"].as_str().unwrap())).await;
    assert_eq!(newest, ["new"]);
    assert_eq!(runs.page("limit=0&cursor=").await.0, [""; 0]);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_cursor_of_something_else_is_refused(pool: PgPool) {
    let world = seven_runs(pool).await;
    let invalid = "Invalid cursor token";
    let foreign = "Cursor token does not match current query shape";
    for (cursor, detail) in [
        ("nonsense", invalid),
        ("~", invalid),
        ("e30", invalid),             // {}
        ("WzFd", invalid),            // [1]
        ("WyJzb29uIl0", invalid),     // ["soon"], where a key is a number
        ("~WyJcdTAwMDAiXQ", invalid), // ["\u0000"], which is no text to Postgres
        ("WyIxIiwiMiJd", foreign),    // ["1","2"]
        ("W10", foreign),             // []
    ] {
        let (status, answer) = world.get(&format!("/dags/~/dagRuns?cursor={cursor}")).await;
        assert_eq!((status, &answer["detail"]), (400, &json!(detail)), "{cursor}");
    }
    let (status, answer) = world.get("/dags/~/dagRuns?cursor=W251bGxd").await;
    assert_eq!((status, &answer["dag_runs"]), (200, &json!([])), "no run is behind one without a key: {answer}");
}
