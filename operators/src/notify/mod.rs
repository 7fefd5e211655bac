//! Who may be told what happened: a web address, a Slack channel, a mailbox.

mod email;
mod slack;
mod webhook;

pub use email::{Email, SmtpServer};
pub use slack::Slack;
pub use webhook::Webhook;
