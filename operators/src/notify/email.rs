//! Tells a mailbox.

use anyhow::Context;
use async_trait::async_trait;
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor, message::Mailbox,
    transport::smtp::authentication::Credentials,
};
use orchestrator::notify::{Notice, Notifier};

/// Sends what happened as a mail.
#[derive(Clone, Debug)]
pub struct Email {
    server: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
}

/// Which server sends the mails.
#[derive(Clone, Debug)]
pub enum SmtpServer {
    /// One that is reached over TLS, with a name and a password.
    Tls {
        /// The host.
        host: String,
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// One on this machine or in this network, without TLS.
    Plain {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
}

impl Email {
    /// Mails from one mailbox to others.
    ///
    /// # Errors
    /// A mailbox is not one, or the host's name cannot be used with TLS.
    pub fn new(server: SmtpServer, from: &str, to: &[&str]) -> anyhow::Result<Self> {
        let mailbox = |text: &str| text.parse::<Mailbox>().with_context(|| format!("{text:?} is not a mailbox"));
        let server = match server {
            SmtpServer::Tls { host, user, password } => AsyncSmtpTransport::<Tokio1Executor>::relay(&host)
                .with_context(|| format!("cannot use {host} with TLS"))?
                .credentials(Credentials::new(user, password))
                .build(),
            SmtpServer::Plain { host, port } => {
                AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host).port(port).build()
            }
        };
        let to = to.iter().map(|text| mailbox(text)).collect::<anyhow::Result<_>>()?;
        Ok(Self { server, from: mailbox(from)?, to })
    }
}

#[async_trait]
impl Notifier for Email {
    async fn notify(&self, notice: &Notice) -> anyhow::Result<()> {
        let text = notice.to_string();
        let subject = text.lines().next().unwrap_or_default().chars().take(200).collect::<String>();
        let message = Message::builder().from(self.from.clone()).subject(format!("[streamcommerce] {subject}"));
        let message = self.to.iter().fold(message, |message, to| message.to(to.clone()));
        let body = format!("{text}\n\n{}", serde_json::to_string_pretty(notice)?);
        self.server.send(message.body(body)?).await.context("the mail server did not take the mail")?;
        Ok(())
    }
}
