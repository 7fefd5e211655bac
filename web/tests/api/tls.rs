//! HTTPS of its own.

use std::{path::Path, time::Duration};

use orchestrator::{
    accounts::{Password, Role},
    commands::{self, By},
};
use reqwest::{Certificate, Response, StatusCode, Version};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use web::{Access, Patience, Server, Tls};

use crate::world::World;

/// Files of a new certificate of this machine, and the certificate.
fn certificate(folder: &Path) -> (Tls, Certificate) {
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = Tls { cert, key, reload: Duration::from_secs(3_600) };
    (tls, Certificate::from_pem(made.cert.pem().as_bytes()).unwrap())
}

/// A client that trusts nothing else, and follows nothing.
fn client_of(cert: &Certificate) -> reqwest::Client {
    let client = reqwest::Client::builder().tls_certs_only([cert.clone()]);
    client.redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

/// The first answer: before it, nobody listens yet, or somebody whom the client does not trust.
async fn served(client: &reqwest::Client, url: &str) -> Response {
    let asked = async {
        loop {
            match client.get(format!("{url}/api/v2/version")).send().await {
                Ok(answer) => break answer,
                Err(error) if error.is_connect() => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(error) => panic!("{error:?}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asked).await.unwrap()
}

#[sqlx::test(migrations = "../migrations")]
async fn it_is_served_encrypted(pool: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let (tls, cert) = certificate(folder.path());

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
    let client = client_of(&cert);
    let url = format!("https://localhost:{}", bind.port());
    let answer = served(&client, &url).await;
    assert!(!serving.is_finished());
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

#[sqlx::test(migrations = "../migrations")]
async fn a_certificate_that_was_renewed_is_served_without_a_restart(pool: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let (tls, before) = certificate(folder.path());
    let world = World::with(pool, Access::Users).await;
    let bind = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server {
        app: world.app.clone(),
        bind,
        entrance: Access::Users.into(),
        tls: Some(Tls { reload: Duration::from_millis(20), ..tls.clone() }),
        patience: Patience::default(),
    };
    let stop = CancellationToken::new();
    let serving = tokio::spawn(server.serve(stop.clone()));
    let url = format!("https://localhost:{}", bind.port());
    served(&client_of(&before), &url).await;

    std::fs::write(&tls.cert, "half of a cert").unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    served(&client_of(&before), &url).await;
    let (_, after) = certificate(folder.path());
    served(&client_of(&after), &url).await;
    let refused = client_of(&before).get(&url).send().await.unwrap_err();
    assert!(refused.is_connect(), "the one before is no longer served: {refused:?}");
    stop.cancel();
    serving.await.unwrap().unwrap();
}
