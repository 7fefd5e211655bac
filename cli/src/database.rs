//! `db`.

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
            orchestrator::store::migrate(&pool).await?;
            output::say("the schema is up to date");
        }
        DbCommand::Clean { days } => {
            let cleaned = Retention::Days(*days).clean(&mut *pool.acquire().await?).await?;
            let (runs, days) = (cleaned.runs, cleaned.partitions.len());
            output::say(&format!("{runs} runs deleted, {days} partitions dropped"));
        }
    }
    Ok(Exit::Done)
}
