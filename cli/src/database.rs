//! `db`.

use anyhow::Context as _;
use orchestrator::retention::Retention;

use crate::{
    Exit,
    arguments::{ConnectionOptions, DbCommand},
    output, settings,
};

pub(crate) async fn dispatch(connection: &ConnectionOptions, command: &DbCommand) -> anyhow::Result<Exit> {
    let pool = settings::pool(connection)?;
    match command {
        DbCommand::Migrate => {
            let direct = settings::direct_pool(connection, &pool)?;
            let direct = direct.context("to migrate, STREAMCOMMERCE_DIRECT_DATABASE_URL must lead to the server")?;
            orchestrator::store::migrate(&direct).await?;
            output::say("the schema is up to date");
        }
        DbCommand::Check => {
            let now = orchestrator::store::now(&mut *pool.acquire().await?).await?;
            output::say(&format!("the database answers; its clock says {now}"));
        }
        DbCommand::Clean { days } => {
            let cleaned = Retention::Days(*days).clean(&mut *pool.acquire().await?).await?;
            let (runs, days) = (cleaned.runs, cleaned.partitions.len());
            output::say(&format!("{runs} runs deleted, {days} partitions dropped"));
        }
    }
    Ok(Exit::Done)
}
