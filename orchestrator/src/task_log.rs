//! The log of a try: whatever its body says through `tracing`, as it says it.
//!
//! A body runs inside [`scope`]; [`Capture`] is a `tracing` layer that hands the events of that task (and of nothing
//! else) to the try's [`LogSink`]. A task that the body spawns itself is outside of the scope, as a thread would be in
//! Airflow.

use std::{
    fmt::Write as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use chrono::{DateTime, Utc};
use tokio::sync::mpsc::Sender;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

use crate::{
    ids::InstanceKey,
    secrets::MASK,
    told::{Kind, Told},
};

/// One line of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogLine {
    /// When it was said.
    pub at: DateTime<Utc>,
    /// `INFO`, `WARN`, ...
    pub level: &'static str,
    /// The Rust module that said it.
    pub logger: String,
    /// What was said.
    pub message: String,
}

/// The try that a line belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogOf {
    /// The task instance.
    pub instance: InstanceKey,
    /// Its try.
    pub try_number: i32,
    /// The day of its run.
    pub run_day: chrono::NaiveDate,
}

/// Where the lines of one try go. Never blocks the body: when the writer behind it cannot keep up, lines are left out,
/// and the log says how many.
#[derive(Clone, Debug)]
pub struct LogSink {
    of: LogOf,
    lines: Sender<(LogOf, LogLine)>,
    left_out: Arc<AtomicU64>,
    secrets: Arc<Mutex<Vec<String>>>,
}

/// Shorter texts are no secrets, and masking them would make a log unreadable: Airflow's `min_length_masked_secret`.
const SECRET_LENGTH_MIN: usize = 5;

/// Longer messages are cut: one line must not fill a page of memory per reader.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

impl LogSink {
    /// A sink for the lines of one try.
    #[must_use]
    pub fn new(of: LogOf, lines: Sender<(LogOf, LogLine)>) -> Self {
        Self { of, lines, left_out: Arc::default(), secrets: Arc::default() }
    }

    /// Writes a line in the engine's own name.
    pub fn say(&self, level: Level, message: impl Into<String>) {
        self.send(level, "streamcommerce.task", message.into());
    }

    /// Hands on what was said elsewhere in this try's name.
    pub(crate) fn relay(&self, level: Level, logger: &str, message: String) {
        self.send(level, logger, message);
    }

    /// A text without the secrets that the try has read.
    #[must_use]
    pub fn masked(&self, text: String) -> String {
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.iter().fold(text, |text, secret| if text.contains(secret) { text.replace(secret, MASK) } else { text })
    }

    fn send(&self, level: Level, logger: &str, message: String) {
        let mut message = self.masked(message);
        if message.len() > MESSAGE_BYTES_MAX {
            let end = (0..=MESSAGE_BYTES_MAX).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
            message.truncate(end);
            message.push('…');
        }
        // Postgres text holds every character but this one.
        if message.contains('\0') {
            message = message.replace('\0', "\u{fffd}");
        }
        if let Some((gap, left_out)) = self.gap() {
            self.hand_over(gap, left_out);
        }
        self.hand_over(LogLine { at: Utc::now(), level: level.as_str(), logger: logger.to_owned(), message }, 1);
    }

    /// Nothing more is said: waits until the log tells of the lines that were left out last.
    pub(crate) async fn close(&self) {
        if let Some((gap, _)) = self.gap() {
            // Nobody reads it: the worker has given up.
            self.lines.send((self.of, gap)).await.ok();
        }
    }

    /// The line that stands for those that were left out, and how many those are.
    fn gap(&self) -> Option<(LogLine, u64)> {
        let left_out = self.left_out.swap(0, Ordering::Relaxed);
        let message = format!("{left_out} lines were left out here");
        let (level, logger) = (Level::WARN.as_str(), "streamcommerce.task".to_owned());
        (left_out > 0).then(|| (LogLine { at: Utc::now(), level, logger, message }, left_out))
    }

    fn hand_over(&self, line: LogLine, stands_for: u64) {
        if self.lines.try_send((self.of, line)).is_err() {
            self.left_out.fetch_add(stands_for, Ordering::Relaxed);
        }
    }
}

tokio::task_local! {
    static CURRENT: LogSink;
}

/// Runs `body` so that what it says goes to `sink`.
pub async fn scope<F: Future>(sink: LogSink, body: F) -> F::Output {
    CURRENT.scope(sink, body).await
}

/// Runs `work`, wherever that is, so that what it says goes where it went until now.
pub(crate) fn with_current<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let sink = CURRENT.try_with(LogSink::clone).ok();
    async move {
        match sink {
            Some(sink) => scope(sink, work).await,
            None => work.await,
        }
    }
}

/// Keeps a secret out of the log of the try that has read it, and out of its cause.
pub fn mask(secret: &str) {
    if secret.len() < SECRET_LENGTH_MIN {
        return;
    }
    let kept = CURRENT.try_with(|sink| {
        let mut secrets = sink.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        // Within JSON it is written otherwise, if it has lines or quotes.
        let in_json = serde_json::Value::from(secret).to_string();
        let in_json = in_json.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        for form in [secret, in_json.unwrap_or(secret)] {
            if !secrets.iter().any(|known| known == form) {
                secrets.push(form.to_owned());
            }
        }
        // One may begin with another: what is left of it would be told.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    });
    // Nobody's task: there is no log to keep it out of.
    kept.ok();
}

/// Tells something of the try that runs, beside its log. Each of its texts is masked: as JSON a secret looks different.
pub(crate) fn tell(kind: Kind, name: &str, value: &str) {
    let told = CURRENT.try_with(|sink| {
        let told = Told::of(&sink.masked(name.to_owned()), &sink.masked(value.to_owned()));
        sink.send(Level::INFO, kind.logger(), serde_json::json!(told).to_string());
    });
    // Nobody's task: there is nothing that it could be told of.
    told.ok();
}

/// Whether whoever asks is a task's body: what it says goes to its own log.
#[must_use]
pub fn is_in_task() -> bool {
    CURRENT.try_with(|_| ()).is_ok()
}

/// The layer that catches what bodies say. Install it once, in `main`.
#[derive(Debug, Default)]
pub struct Capture;

impl<S: Subscriber> Layer<S> for Capture {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // Airflow's default level. What libraries say below it is not the task's story.
        if *event.metadata().level() > Level::INFO {
            return;
        }
        let said = CURRENT.try_with(|sink| {
            let mut text = Text::default();
            event.record(&mut text);
            sink.send(*event.metadata().level(), event.metadata().target(), text.0);
        });
        // Nobody's task: an event of the engine itself.
        said.ok();
    }
}

#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let separator = if self.0.is_empty() { "" } else { " " };
        let written = match field.name() {
            "message" => write!(self.0, "{separator}{value:?}"),
            name => write!(self.0, "{separator}{name}={value:?}"),
        };
        // Writing to a String cannot fail.
        written.ok();
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}
