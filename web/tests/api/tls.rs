//! HTTPS of its own.

use std::time::Duration;

use orchestrator::{
    accounts::{Password, Role},
    commands::{self, By},
};
use reqwest::{Certificate, StatusCode, Version};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use web::{Access, Patience, Server, Tls};

use crate::world::World;

#[sqlx::test(migrations = "../migrations")]
async fn it_is_served_encrypted(pool: PgPool) {
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls = Tls { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
    std::fs::write(&tls.cert, made.cert.pem()).unwrap();
    std::fs::write(&tls.key, made.signing_key.serialize_pem()).unwrap();

    let world = World::with(pool.clone(), Access::Users).await;
    let password = Password::from("correct horse".to_owned());
    let mut conn = pool.acquire().await.unwrap();
    commands::create_user(&mut conn, "ada", &password, Role::Viewer, &By::test()).await.unwrap();
    let bind = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = |tls| Server {
        app: world.app.clone(),
        bind,
        entrance: Access::Users.into(),
        tls: Some(tls),
        patience: Patience::default(),
    };
    let wrong = Tls { key: tls.cert.clone(), ..tls.clone() };
    let refused = server(wrong).serve(CancellationToken::new()).await.unwrap_err();
    assert!(refused.to_string().starts_with("cannot serve HTTPS with "), "{refused:#}");

    let stop = CancellationToken::new();
    let serving = tokio::spawn(server(tls).serve(stop.clone()));
    let root = Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([root]).redirect(reqwest::redirect::Policy::none());
    let client = client.build().unwrap();
    let url = format!("https://localhost:{}", bind.port());
    let served = async {
        loop {
            match client.get(format!("{url}/api/v2/version")).send().await {
                Ok(answer) => break answer,
                Err(error) if error.is_connect() && !serving.is_finished() => tokio::task::yield_now().await,
                Err(error) => panic!("{error:?}"),
            }
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(60), served).await.expect("it is served");
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_2));

    // In HTTP/2 there is no Host: a page of this server is told from another one's all the same.
    let sign_in = async |origin: &str| {
        let form = [("username", "ada"), ("password", "correct horse"), ("next", "/dags")];
        let answer = client.post(format!("{url}/login")).header("origin", origin).form(&form).send().await.unwrap();
        answer.status()
    };
    assert_eq!(sign_in(&url).await, StatusCode::SEE_OTHER);
    assert_eq!(sign_in("https://evil.example").await, StatusCode::FORBIDDEN);
    assert!(
        reqwest::get(format!("http://localhost:{}/", bind.port())).await.is_err(),
        "nothing is served in the clear"
    );
    stop.cancel();
    serving.await.unwrap().unwrap();
}
