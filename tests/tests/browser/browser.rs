//! A real browser, and what one does with it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use fantoccini::{
    Client, ClientBuilder, Locator,
    actions::{InputSource, MOUSE_BUTTON_LEFT, MouseActions, PointerAction},
};
use local::{
    child::{Child, Program},
    ports::{HOST, Ports},
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::server::{ADMIN, Server};

const PATIENCE: Duration = Duration::from_secs(60);

const AXE: &str = include_str!("../../browser/axe.min.js");

/// What a browser is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) size: (u32, u32),
    pub(crate) is_dark: bool,
    pub(crate) has_scripts: bool,
}

pub(crate) const DESK: Kind = Kind { name: "desk", size: (1440, 900), is_dark: false, has_scripts: true };
pub(crate) const DARK: Kind = Kind { name: "dark", is_dark: true, ..DESK };
pub(crate) const PHONE: Kind = Kind { name: "phone", size: (390, 844), ..DESK };
pub(crate) const PLAIN: Kind = Kind { name: "plain", has_scripts: false, ..DESK };

pub(crate) struct Browser {
    client: Client,
    driver: Child,
    web: String,
    shots: PathBuf,
    kind: Kind,
}

impl Browser {
    pub(crate) async fn start(server: &Server, kind: Kind) -> Self {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let (state, port) = (server.state(), Ports::free().unwrap().bigquery);
        let driver = Program::new("chromedriver", "chromedriver", &state.logs()).args([format!("--port={port}")]);
        let mut driver = driver.spawn(Signal::SIGTERM).unwrap();
        let status = format!("http://{HOST}:{port}/status");
        driver.wait_until(PATIENCE, async || reqwest::get(&status).await.is_ok()).await.unwrap();
        let profile = state.folder(&format!("chromium-{}", kind.name)).unwrap();
        let options = json!({ "args": arguments(kind, &profile), "binary": "/usr/bin/chromium" });
        let wanted = json!({ "goog:chromeOptions": options }).as_object().unwrap().clone();
        let client = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(wanted)
            .connect(&format!("http://{HOST}:{port}"))
            .await
            .unwrap();
        // The frame of a window takes some of its size, and a desk has no window as narrow as a phone.
        let (width, height) = kind.size;
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        let command = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": metrics });
        let session = client.session_id().await.unwrap().unwrap();
        let url = format!("http://{HOST}:{port}/session/{session}/goog/cdp/execute");
        reqwest::Client::new().post(url).json(&command).send().await.unwrap().error_for_status().unwrap();
        let shots = checkout.join("target/screenshots");
        std::fs::create_dir_all(&shots).unwrap();
        Self { client, driver, web: server.url(), shots, kind }
    }

    pub(crate) async fn sign_in(&self, server: &Server) {
        self.sign_in_as(ADMIN, server.password()).await;
    }

    pub(crate) async fn sign_in_as(&self, name: &str, password: &str) {
        self.open("/login").await;
        self.fill("input[name=username]", name).await;
        self.fill("input[name=password]", password).await;
        self.press("Sign in").await;
        // The password takes its time to check, and whoever goes on before that is not signed in.
        self.wait_for("a[href='/account']").await;
    }

    pub(crate) async fn source(&self) -> String {
        self.client.source().await.unwrap()
    }

    pub(crate) async fn open(&self, path: &str) {
        self.client.goto(&format!("{}{path}", self.web)).await.unwrap();
    }

    pub(crate) async fn path(&self) -> String {
        self.client.current_url().await.unwrap().path().to_owned()
    }

    /// What a script returns.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.client.execute(script, vec![]).await.unwrap()
    }

    /// Waits for an element, and reads it.
    pub(crate) async fn text(&self, css: &str) -> String {
        let wait = self.client.wait().at_most(PATIENCE);
        let found = wait.for_element(Locator::Css(css)).await;
        found.unwrap_or_else(|error| panic!("no {css} on {}: {error}", self.web));
        // A live page may have swapped the element meanwhile: then it is looked for again.
        let said = self.run(&format!("return document.querySelector({css:?})?.textContent ?? ''")).await;
        said.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an element says so: the page brings itself up to date.
    pub(crate) async fn see(&self, css: &str, text: &str) {
        let seen = tokio::time::timeout(PATIENCE, async {
            while !self.text(css).await.contains(text) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        assert!(seen.await.is_ok(), "{css} never said {text:?}; it says {}", self.text(css).await);
    }

    /// Waits until an element says something else than this.
    pub(crate) async fn changes(&self, css: &str, from: &str) {
        let changed = tokio::time::timeout(PATIENCE, async {
            while self.text(css).await.trim() == from.trim() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        assert!(changed.await.is_ok(), "{css} says {from:?} for ever");
    }

    /// Waits until a script returns this: the page is still being laid out, or brings itself up to date.
    pub(crate) async fn comes_to(&self, script: &str, wanted: impl Into<Value>) {
        let wanted = wanted.into();
        let came = tokio::time::timeout(PATIENCE, async {
            while self.run(script).await != wanted {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        assert!(came.await.is_ok(), "{script} never returned {wanted}; it returns {}", self.run(script).await);
    }

    pub(crate) async fn wait_for(&self, css: &str) {
        let found = self.client.wait().at_most(PATIENCE).for_element(Locator::Css(css)).await;
        found.unwrap_or_else(|error| panic!("there is never a {css}: {error}"));
    }

    pub(crate) async fn click(&self, css: &str) {
        let wait = self.client.wait().at_most(PATIENCE);
        wait.for_element(Locator::Css(css)).await.unwrap().click().await.unwrap();
    }

    pub(crate) async fn fill(&self, css: &str, text: &str) {
        let wait = self.client.wait().at_most(PATIENCE);
        let field = wait.for_element(Locator::Css(css)).await.unwrap();
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Types where the focus is.
    pub(crate) async fn keys(&self, keys: &str) {
        self.client.active_element().await.unwrap().send_keys(keys).await.unwrap();
    }

    /// Drags with the mouse, from one point of the window to another.
    pub(crate) async fn drag(&self, from: (f64, f64), to: (f64, f64)) {
        let moved = |(x, y)| PointerAction::MoveTo { duration: None, x, y };
        let mouse = MouseActions::new("mouse".to_owned())
            .then(moved(from))
            .then(PointerAction::Down { button: MOUSE_BUTTON_LEFT })
            .then(moved(to))
            .then(PointerAction::Up { button: MOUSE_BUTTON_LEFT });
        self.client.perform_actions(mouse).await.unwrap();
    }

    pub(crate) async fn press(&self, label: &str) {
        let button = format!("//button[normalize-space()='{label}']");
        let wait = self.client.wait().at_most(PATIENCE);
        let found = wait.for_element(Locator::XPath(&button)).await;
        let found = match found {
            Ok(found) => found,
            Err(error) => panic!("no button {label} on {}: {error}", self.path().await),
        };
        found.click().await.unwrap();
    }

    pub(crate) async fn follow(&self, label: &str) {
        let wait = self.client.wait().at_most(PATIENCE);
        let found = wait.for_element(Locator::LinkText(label)).await;
        let found = match found {
            Ok(found) => found,
            Err(error) => panic!("no link {label} on {}: {error}", self.path().await),
        };
        found.click().await.unwrap();
    }

    pub(crate) async fn shot(&self, name: &str) {
        let png = self.client.screenshot().await.unwrap();
        std::fs::write(self.shots.join(format!("{name}-{}.png", self.kind.name)), png).unwrap();
    }

    /// Keeps figures beside the pictures.
    pub(crate) fn keep(&self, name: &str, figures: &Value) {
        std::fs::write(self.shots.join(format!("{name}.json")), figures.to_string()).unwrap();
    }

    /// What is wrong with the page for people with disabilities, by WCAG 2.2 AA.
    pub(crate) async fn violations(&self) -> Vec<String> {
        self.violations_of("html").await
    }

    /// The same of a part of it.
    pub(crate) async fn violations_of(&self, css: &str) -> Vec<String> {
        self.run(AXE).await;
        let script = "const done = arguments[arguments.length - 1];
            axe.run(arguments[0], { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] }).then((found) => done(
                found.violations.flatMap((one) => one.nodes.map((node) => `${one.id}: ${node.html.slice(0, 200)} ${node.failureSummary}`))
            ))";
        let found = self.client.execute_async(script, vec![json!(css)]).await.unwrap();
        serde_json::from_value(found).unwrap()
    }

    /// By how much the page is wider than the window.
    pub(crate) async fn overflow(&self) -> i64 {
        let script = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        self.run(script).await.as_i64().unwrap()
    }

    pub(crate) async fn stop(self) {
        self.client.close().await.unwrap();
        self.driver.stop(Duration::from_secs(3)).await;
    }
}

fn arguments(kind: Kind, profile: &Path) -> Vec<String> {
    let mut arguments = [
        "--headless=new",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--hide-scrollbars",
    ]
    .map(str::to_owned)
    .to_vec();
    arguments.push(format!("--window-size={},{}", kind.size.0, kind.size.1));
    arguments.push(format!("--user-data-dir={}", profile.display()));
    let mut settings = Vec::new();
    if kind.is_dark {
        settings.push("preferredColorScheme=0");
    }
    if !kind.has_scripts {
        settings.push("scriptEnabled=false");
    }
    if !settings.is_empty() {
        arguments.push(format!("--blink-settings={}", settings.join(",")));
    }
    if nix::unistd::geteuid().is_root() {
        arguments.push("--no-sandbox".to_owned());
    }
    arguments
}
