//! A real browser walks DAGs → run → task → log, triggers, pauses and clears; with a screenshot of each page.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use fantoccini::{Client, ClientBuilder, Locator};
use local::{
    child::{Child, Program},
    ports::HOST,
};
use nix::sys::signal::Signal;
use serde_json::json;
use tests::server::{ADMIN, Server};

const PATIENCE: Duration = Duration::from_secs(60);

struct Browser {
    client: Client,
    driver: Child,
    web: String,
    shots: PathBuf,
}

#[tokio::test]
async fn a_person_finds_runs_and_reruns_a_task() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let server = Server::start("browser", &[]).await.unwrap();
    let browser = Browser::start(&server, checkout).await;

    // Whoever is not signed in does so, and is where they wanted to be: at the list. The DAG is paused, as every new one.
    browser.open("/dags").await;
    browser.shot("login").await;
    browser.fill("input[name=username]", ADMIN).await;
    browser.fill("input[name=password]", server.password()).await;
    browser.press("Sign in").await;
    assert!(browser.text("#dag-hello").await.contains("paused"));
    browser.shot("dags").await;
    browser.click("#dag-hello a").await;
    browser.shot("dag").await;
    assert!(browser.text("svg").await.contains("greet"));

    // Trigger: the run waits and says why; unpause, and it runs while we look, without a reload.
    browser.click("button.main").await;
    browser.see("main", "It waits until the DAG is unpaused").await;
    let run = browser.client.current_url().await.unwrap().path().to_owned();
    browser.open("/dags/hello").await;
    browser.press("Unpause").await;
    browser.open(&run).await;
    browser.see("main > p .state", "success").await;
    browser.shot("run").await;

    // The task, and what it said.
    browser.click("#task-greet a").await;
    browser.see("#log", "hello, world").await;
    browser.shot("task").await;

    // Clear shows first what it would do, then does it; the task has a second try.
    browser.press_link("Clear…").await;
    assert!(browser.text("h1").await.contains("Clear 3 task instances?"));
    browser.shot("clear").await;
    browser.click("button.main").await;
    browser.see("#task-done", "success").await;
    browser.click("#task-greet a").await;
    browser.see(".tabs", "try 2").await;

    // A page that does not exist says so.
    browser.open("/dags/nothing").await;
    assert!(browser.text("h1").await.contains("Not found"));

    // Who signs out is out.
    browser.open("/account").await;
    browser.press("Sign out").await;
    browser.open("/dags").await;
    assert!(browser.text("h1").await.contains("Sign in"));

    browser.stop().await;
    server.stop().await;
}

impl Browser {
    async fn start(server: &Server, checkout: &Path) -> Self {
        // A port of the stack that this story does not start.
        let (state, port) = (server.state(), server.ports().bigquery);
        let driver = Program::new("chromedriver", "chromedriver", &state.logs()).args([format!("--port={port}")]);
        let mut driver = driver.spawn(Signal::SIGTERM).unwrap();
        let status = format!("http://{HOST}:{port}/status");
        driver.wait_until(PATIENCE, async || reqwest::get(&status).await.is_ok()).await.unwrap();
        let profile = state.folder("chromium").unwrap();
        let mut arguments = vec![
            "--headless=new".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--no-first-run".to_owned(),
            "--window-size=1440,900".to_owned(),
            format!("--user-data-dir={}", profile.display()),
        ];
        if nix::unistd::geteuid().is_root() {
            arguments.push("--no-sandbox".to_owned());
        }
        let options = json!({ "args": arguments, "binary": "/usr/bin/chromium" });
        let wanted = json!({ "goog:chromeOptions": options }).as_object().unwrap().clone();
        let client = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(wanted)
            .connect(&format!("http://{HOST}:{port}"))
            .await
            .unwrap();
        let shots = checkout.join("target/screenshots");
        std::fs::create_dir_all(&shots).unwrap();
        Self { client, driver, web: server.url(), shots }
    }

    async fn open(&self, path: &str) {
        self.client.goto(&format!("{}{path}", self.web)).await.unwrap();
    }

    /// Waits for an element, and reads it.
    async fn text(&self, css: &str) -> String {
        let wait = self.client.wait().at_most(PATIENCE);
        wait.for_element(Locator::Css(css)).await.unwrap();
        // A live page may have swapped the element meanwhile: then it is looked for again.
        self.client
            .execute(&format!("return document.querySelector({css:?}).textContent"), vec![])
            .await
            .unwrap()
            .to_string()
    }

    /// Waits until an element says so: the page brings itself up to date.
    async fn see(&self, css: &str, text: &str) {
        let seen = tokio::time::timeout(PATIENCE, async {
            while !self.text(css).await.contains(text) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        assert!(seen.await.is_ok(), "{css} never said {text:?}; it says {}", self.text(css).await);
    }

    async fn click(&self, css: &str) {
        let wait = self.client.wait().at_most(PATIENCE);
        wait.for_element(Locator::Css(css)).await.unwrap().click().await.unwrap();
    }

    async fn fill(&self, css: &str, text: &str) {
        let wait = self.client.wait().at_most(PATIENCE);
        wait.for_element(Locator::Css(css)).await.unwrap().send_keys(text).await.unwrap();
    }

    async fn press(&self, label: &str) {
        let button = format!("//button[normalize-space()='{label}']");
        self.client.find(Locator::XPath(&button)).await.unwrap().click().await.unwrap();
    }

    async fn press_link(&self, label: &str) {
        let wait = self.client.wait().at_most(PATIENCE);
        wait.for_element(Locator::LinkText(label)).await.unwrap().click().await.unwrap();
    }

    async fn shot(&self, name: &str) {
        let png = self.client.screenshot().await.unwrap();
        std::fs::write(self.shots.join(format!("{name}.png")), png).unwrap();
    }

    async fn stop(self) {
        self.client.close().await.unwrap();
        self.driver.stop(Duration::from_secs(3)).await;
    }
}
