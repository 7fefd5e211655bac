//! What stands between a worker and its bucket: it lets requests through, and at the step of a commit that it is told it
//! does harm.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI32, AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use uuid::Uuid;

/// A step of a commit, as the bucket sees it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Step {
    /// A file is uploaded to where nobody looks.
    Upload,
    /// The manifest is created: the commit.
    Manifest,
    /// A file is moved to where readers see it.
    Move,
}

/// What happens there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Harm {
    /// The worker is killed, and the request never arrives.
    KillBefore,
    /// The worker is killed when the request has done its work.
    KillAfter,
    /// The bucket refuses with this status.
    Refuse(u16),
    /// The request does its work, and the answer is an error.
    LoseReply,
    /// The bucket takes so long.
    Slow(Duration),
    /// Somebody else creates the manifest a moment before.
    Rival,
}

#[derive(Debug)]
struct Trap {
    step: Step,
    harm: Harm,
    left: u32,
}

/// The way of one worker to the bucket.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    upstream: String,
    http: reqwest::Client,
    trap: Mutex<Option<Trap>>,
    sprung: AtomicU32,
    asked: AtomicU32,
    /// The worker's process.
    pid: AtomicI32,
}

impl Gate {
    /// Opens a gate at a port of its own, which it returns.
    pub(crate) async fn open(upstream: &str) -> anyhow::Result<(Self, u16)> {
        let inner = Inner {
            upstream: upstream.to_owned(),
            http: reqwest::Client::new(),
            trap: Mutex::default(),
            sprung: AtomicU32::default(),
            asked: AtomicU32::default(),
            pid: AtomicI32::default(),
        };
        let gate = Self(Arc::new(inner));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let router = Router::new().fallback(pass).layer(DefaultBodyLimit::disable()).with_state(gate.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok((gate, port))
    }

    pub(crate) fn is_of(&self, pid: i32) {
        self.0.pid.store(pid, Ordering::SeqCst);
    }

    /// Sets a trap, for so many requests.
    pub(crate) fn set(&self, step: Step, harm: Harm, times: u32) {
        self.0.sprung.store(0, Ordering::SeqCst);
        *self.trap() = Some(Trap { step, harm, left: times });
    }

    /// Takes the trap away; says how often it went off.
    pub(crate) fn disarm(&self) -> u32 {
        *self.trap() = None;
        self.sprung()
    }

    /// How often the trap went off.
    pub(crate) fn sprung(&self) -> u32 {
        self.0.sprung.load(Ordering::SeqCst)
    }

    /// How many requests were about commit logs: who has partitions asks for theirs.
    pub(crate) fn asked_for_logs(&self) -> u32 {
        self.0.asked.load(Ordering::SeqCst)
    }

    fn trap(&self) -> std::sync::MutexGuard<'_, Option<Trap>> {
        self.0.trap.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn springs(&self, step: Option<Step>) -> Option<Harm> {
        let mut trap = self.trap();
        let trap = trap.as_mut().filter(|trap| Some(trap.step) == step && trap.left > 0)?;
        trap.left -= 1;
        self.0.sprung.fetch_add(1, Ordering::SeqCst);
        Some(trap.harm)
    }

    fn kill_worker(&self) {
        kill(Pid::from_raw(self.0.pid.load(Ordering::SeqCst)), Signal::SIGKILL).ok();
    }

    async fn forward(&self, request: &Request) -> Response {
        let url = format!("{}{}", self.0.upstream, request.uri);
        let mut forwarded = self.0.http.request(request.method.clone(), url).body(request.body.clone());
        for (name, value) in request.headers.iter().filter(|(name, _)| **name != header::HOST) {
            forwarded = forwarded.header(name, value);
        }
        let Ok(answer) = forwarded.send().await else { return StatusCode::BAD_GATEWAY.into_response() };
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer.bytes().await.unwrap_or_default();
        let mut response = (status, body).into_response();
        for (name, value) in headers.iter().filter(|(name, _)| **name != header::TRANSFER_ENCODING) {
            response.headers_mut().insert(name, value.clone());
        }
        response
    }
}

struct Request {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Request {
    fn is_about_logs(&self) -> bool {
        self.uri.path().contains("_commits") || self.uri.query().is_some_and(|query| query.contains("_commits"))
    }

    fn step(&self) -> Option<Step> {
        let path = self.uri.path();
        if path.contains("/moveTo/") {
            return Some(Step::Move);
        }
        if !path.contains("/upload/") {
            return None;
        }
        // The name stands in the query, with its slashes encoded.
        let query = self.uri.query().unwrap_or_default();
        match () {
            () if query.contains("_genesis") => None,
            () if query.contains("name=_commits") => Some(Step::Manifest),
            () if query.contains("name=_staging") => Some(Step::Upload),
            () => None,
        }
    }

    /// The same manifest, by another writer.
    fn rival(&self) -> Self {
        let text = String::from_utf8_lossy(&self.body);
        let mark = "\"writer\": \"";
        let body = match text.find(mark).map(|at| at + mark.len()) {
            Some(at) => format!("{}{}{}", &text[..at], Uuid::new_v4(), &text[at + 36..]).into(),
            None => self.body.clone(),
        };
        // The checksum is of the other one.
        let mut headers = self.headers.clone();
        headers.remove("x-goog-hash");
        Self { method: self.method.clone(), uri: self.uri.clone(), headers, body }
    }
}

async fn pass(State(gate): State<Gate>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let request = Request { method, uri, headers, body };
    if request.is_about_logs() {
        gate.0.asked.fetch_add(1, Ordering::SeqCst);
    }
    match gate.springs(request.step()) {
        None => gate.forward(&request).await,
        Some(Harm::KillBefore) => {
            gate.kill_worker();
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
        Some(Harm::KillAfter) => {
            let answer = gate.forward(&request).await;
            gate.kill_worker();
            answer
        }
        Some(Harm::Refuse(status)) => {
            StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE).into_response()
        }
        Some(Harm::LoseReply) => {
            gate.forward(&request).await;
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
        Some(Harm::Slow(long)) => {
            tokio::time::sleep(long).await;
            gate.forward(&request).await
        }
        Some(Harm::Rival) => {
            gate.forward(&request.rival()).await;
            gate.forward(&request).await
        }
    }
}
