//! Notifiers, against a server over HTTP and one over SMTP.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use chrono::DateTime;
use operators::notify::{Email, Slack, SmtpServer, Webhook};
use orchestrator::notify::{Event, Notice, Notifier};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

fn notice() -> Notice {
    Notice {
        event: Event::TaskFailure,
        dag_id: "shop".into(),
        run_id: "manual__1".into(),
        logical_date: None,
        task_id: Some("load".into()),
        map_index: -1,
        try_number: Some(2),
        cause: Some("rows <b>&</b> columns".to_owned()),
        happened_at: DateTime::UNIX_EPOCH,
    }
}

/// Answers one request with a status, and returns its body.
async fn answer_once(status: &'static str) -> (String, JoinHandle<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook/s3cret", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let mut stream = BufReader::new(listener.accept().await.unwrap().0);
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).await.unwrap();
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        stream.get_mut().write_all(head.as_bytes()).await.unwrap();
        serde_json::from_slice(&body).unwrap()
    });
    (url, served)
}

#[tokio::test]
async fn a_webhook_gets_the_notice_and_a_refusal_is_an_error_without_its_address() {
    let (url, served) = answer_once("204 No Content").await;
    Webhook::to(url).notify(&notice()).await.unwrap();
    let body = served.await.unwrap();
    assert_eq!((&body["event"], &body["task_id"]), (&"task_failure".into(), &"load".into()));
    assert_eq!(body["text"], "shop.load failed in manual__1: rows <b>&</b> columns");

    let (url, _served) = answer_once("503 Service Unavailable").await;
    let refused = Webhook::to(url).notify(&notice()).await.unwrap_err();
    assert_eq!(refused.to_string(), "the webhook answered 503 Service Unavailable");
    let unreachable = Webhook::to("http://127.0.0.1:1/hook/s3cret").notify(&notice()).await.unwrap_err();
    assert!(!format!("{unreachable:#}").contains("s3cret"), "{unreachable:#}");
}

#[tokio::test]
async fn slack_gets_a_sentence_that_cannot_be_taken_for_markup() {
    let (url, served) = answer_once("200 OK").await;
    Slack::to(url).notify(&notice()).await.unwrap();
    assert_eq!(
        served.await.unwrap()["text"],
        ":x: shop.load failed in manual__1: rows &lt;b&gt;&amp;&lt;/b&gt; columns"
    );
}

/// As much of SMTP as one mail needs; returns what came after DATA.
async fn take_a_mail(stream: TcpStream) -> String {
    let mut stream = BufReader::new(stream);
    let say = async |stream: &mut BufReader<TcpStream>, line: &str| {
        stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
    };
    say(&mut stream, "220 test").await;
    let (mut line, mut mail, mut is_data) = (String::new(), String::new(), false);
    loop {
        line.clear();
        if stream.read_line(&mut line).await.unwrap() == 0 {
            return mail;
        }
        match (is_data, line.trim_end()) {
            (true, ".") => {
                is_data = false;
                say(&mut stream, "250 taken").await;
            }
            (true, _) => mail.push_str(&line),
            (false, "DATA") => {
                is_data = true;
                say(&mut stream, "354 go on").await;
            }
            (false, "QUIT") => {
                say(&mut stream, "221 bye").await;
                return mail;
            }
            (false, _) => say(&mut stream, "250 ok").await,
        }
    }
}

#[tokio::test]
async fn a_mail_says_what_happened_and_a_bad_mailbox_is_refused_early() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = || SmtpServer::Plain { host: "127.0.0.1".to_owned(), port: listener.local_addr().unwrap().port() };
    let email = Email::new(server(), "airflow@example.org", &["Ops <ops@example.org>", "you@example.org"]).unwrap();
    let told = notice();
    let (mail, sent) = tokio::join!(async { take_a_mail(listener.accept().await.unwrap().0).await }, async {
        let sent = email.notify(&told).await;
        // Its connections are closed with it.
        drop(email);
        sent
    });
    sent.unwrap();
    assert!(mail.contains("Subject: [streamcommerce] shop.load failed in manual__1"), "{mail}");
    assert!(mail.contains("To: Ops <ops@example.org>, you@example.org"), "{mail}");
    let refused = Email::new(server(), "nobody", &[]).unwrap_err();
    assert_eq!(refused.to_string(), "\"nobody\" is not a mailbox");
}
