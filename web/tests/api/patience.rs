//! What takes too long is given up, and takes nothing else with it.

use std::{net::SocketAddr, time::Duration};

use serde_json::json;
use sqlx::PgPool;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use web::{Access, Patience, Server};

use crate::world::World;

/// Far more than any of it takes.
const LONG: Duration = Duration::from_secs(60);

/// A server with this patience, once it listens.
async fn served(world: &World, patience: Patience) -> (SocketAddr, CancellationToken) {
    let bind = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let stop = CancellationToken::new();
    let server = Server { app: world.app.clone(), bind, entrance: Access::Loopback.into(), tls: None, patience };
    let serving = tokio::spawn(server.serve(stop.clone()));
    while TcpStream::connect(bind).await.is_err() {
        assert!(!serving.is_finished());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    (bind, stop)
}

/// Everything that the server says to this, until it hangs up.
async fn said(bind: SocketAddr, request: &str) -> String {
    let mut connection = TcpStream::connect(bind).await.unwrap();
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut said = String::new();
    let hung_up = timeout(LONG, connection.read_to_string(&mut said)).await;
    hung_up.unwrap().unwrap();
    said
}

#[sqlx::test(migrations = "../migrations")]
async fn a_silent_client_is_hung_up_on(pool: PgPool) {
    let world = World::new(pool).await;
    let (bind, stop) = served(&world, Patience { head: Duration::from_millis(300), answer: LONG }).await;
    assert_eq!(said(bind, "").await, "", "not even a line");
    let half = said(bind, "GET /api/v2/version HTTP/1.1\r\nHost: localh").await;
    assert!(half.is_empty() || half.starts_with("HTTP/1.1 408 "), "{half}");
    let kept = said(bind, "GET /api/v2/version HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(kept.starts_with("HTTP/1.1 200 OK"), "{kept}");
    stop.cancel();
}

#[sqlx::test(migrations = "../migrations")]
async fn an_answer_that_does_not_come_is_given_up(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    let (bind, stop) = served(&world, Patience { head: LONG, answer: Duration::from_millis(500) }).await;
    let get = async |path: &str| {
        let answer = reqwest::get(format!("http://{bind}{path}")).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let mut lock = pool.begin().await.unwrap();
    sqlx::query("lock table asset in access exclusive mode").execute(&mut *lock).await.unwrap();
    let (status, answer) = get("/api/v2/assets").await;
    assert_eq!(status, 504, "{answer}");
    assert!(answer.starts_with(r#"{"detail":"the answer took too long"#), "{answer}");
    let (status, page) = get("/assets").await;
    assert_eq!((status, page.contains("That took too long")), (504, true), "{page}");
    lock.rollback().await.unwrap();
    assert_eq!(get("/api/v2/assets").await.0, 200, "nothing is left of them");

    let head = "POST /api/v2/variables HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let unsent = said(bind, &format!("{head}Connection: close\r\nContent-Length: 100\r\n\r\n{{\"key\":")).await;
    assert!(unsent.starts_with("HTTP/1.1 504 "), "{unsent}");
    stop.cancel();
}

#[sqlx::test(migrations = "../migrations")]
async fn what_was_asked_before_the_end_is_answered(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    let (bind, stop) = served(&world, Patience::default()).await;
    let mut lock = pool.begin().await.unwrap();
    sqlx::query("lock table asset in access exclusive mode").execute(&mut *lock).await.unwrap();
    let asked = tokio::spawn(reqwest::get(format!("http://{bind}/api/v2/assets")));
    let waits = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    while sqlx::query_scalar::<_, i64>(waits).fetch_one(&pool).await.unwrap() == 0 {
        assert!(!asked.is_finished());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.cancel();
    let closes = async {
        while TcpStream::connect(bind).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, closes).await.unwrap();
    lock.rollback().await.unwrap();
    let answer = timeout(LONG, asked).await.unwrap().unwrap().unwrap();
    assert_eq!(answer.status(), 200, "nobody new is let in, but who is in is served");
}

#[sqlx::test(migrations = "../migrations")]
async fn health_is_told_soon_while_the_database_is_not_there(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    let mut lock = pool.begin().await.unwrap();
    sqlx::query("lock table process in access exclusive mode").execute(&mut *lock).await.unwrap();
    let (status, health) = world.get("/monitor/health").await;
    assert_eq!((status, &health["metadatabase"]), (200, &json!({ "status": "unhealthy" })));
    lock.rollback().await.unwrap();
    assert_eq!(world.get("/monitor/health").await.1["metadatabase"]["status"], "healthy");
}
