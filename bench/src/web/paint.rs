//! When a browser has painted a page first, by its own clock.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use fantoccini::{Client, ClientBuilder, Locator};
use local::{
    child::Program,
    ports::{HOST, Ports},
};
use nix::sys::signal::Signal;
use serde::Serialize;
use serde_json::json;

/// What is printed.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    pub(super) what: &'static str,
    /// From the press to the first content that is seen.
    pub(super) first_paint_p50_ms: f64,
    /// What the page is made with: scripts, as they go over the wire.
    pub(super) script_kilobytes: f64,
}

/// How often each page is loaded.
const TIMES: usize = 15;
const PATIENCE: Duration = Duration::from_secs(30);

/// A page may be whole before it is painted.
const TOLD: &str = "const done = arguments[arguments.length - 1];
    const scripts = performance.getEntriesByType('resource').filter((of) => of.initiatorType === 'script')
        .reduce((sum, of) => sum + of.encodedBodySize, 0) / 1000;
    new PerformanceObserver((list) => {
        const paint = list.getEntriesByName('first-contentful-paint')[0];
        if (paint) done([paint.startTime, scripts]);
    }).observe({ type: 'paint', buffered: true });";

/// Loads each of these pages with chromium, as somebody who has signed in.
pub(super) async fn of(
    pages: &[&'static str],
    address: &str,
    (name, password): (&str, &str),
    folder: &Path,
) -> anyhow::Result<Vec<Figure>> {
    let port = Ports::free()?.bigquery;
    let driver = Program::new("chromedriver", "chromedriver", &folder.join("logs"));
    let mut driver = driver.args([format!("--port={port}")]).spawn(Signal::SIGTERM)?;
    let status = format!("http://{HOST}:{port}/status");
    driver.wait_until(PATIENCE, async || reqwest::get(&status).await.is_ok()).await?;
    let browser = browser(port, &folder.join("chromium")).await?;
    sign_in(&browser, address, name, password).await?;
    let mut figures = Vec::new();
    for page in pages {
        figures.push(load(&browser, page, &format!("{address}{page}")).await?);
    }
    browser.close().await?;
    driver.stop(PATIENCE).await;
    Ok(figures)
}

async fn browser(port: u16, profile: &Path) -> anyhow::Result<Client> {
    let mut args: Vec<_> =
        ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--window-size=1440,900"]
            .map(str::to_owned)
            .to_vec();
    args.push(format!("--user-data-dir={}", profile.display()));
    if nix::unistd::geteuid().is_root() {
        args.push("--no-sandbox".to_owned());
    }
    let wanted = json!({ "goog:chromeOptions": { "args": args, "binary": "/usr/bin/chromium" } });
    let wanted = wanted.as_object().context("no capabilities")?.clone();
    let builder =
        ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new()).capabilities(wanted).clone();
    Ok(builder.connect(&format!("http://{HOST}:{port}")).await?)
}

async fn sign_in(browser: &Client, address: &str, name: &str, password: &str) -> anyhow::Result<()> {
    browser.goto(&format!("{address}/login")).await?;
    for (field, text) in [("username", name), ("password", password)] {
        browser.find(Locator::Css(&format!("input[name={field}]"))).await?.send_keys(text).await?;
    }
    browser.find(Locator::XPath("//button[normalize-space()='Sign in']")).await?.click().await?;
    browser.wait().at_most(PATIENCE).for_element(Locator::Css("a[href='/account']")).await?;
    Ok(())
}

async fn load(browser: &Client, what: &'static str, url: &str) -> anyhow::Result<Figure> {
    let (mut paints, mut script_kilobytes) = (Vec::new(), 0.0);
    for _ in 0..TIMES {
        browser.goto(url).await?;
        let told = browser.execute_async(TOLD, vec![]).await?;
        paints.push(told[0].as_f64().with_context(|| format!("{what} was never painted"))?);
        // Later loads find them in the cache, where they have the same size.
        script_kilobytes = told[1].as_f64().unwrap_or_default();
    }
    ensure!(script_kilobytes > 0.0, "{what} has no scripts: nobody has signed in");
    paints.sort_by(f64::total_cmp);
    Ok(Figure { what, first_paint_p50_ms: paints[TIMES / 2], script_kilobytes })
}
