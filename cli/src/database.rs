//! `db`.

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
    }
    Ok(Exit::Done)
}
