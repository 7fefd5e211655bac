//! The schemas that the files of the bucket have had. Who comes with one that readers could not bear is refused before it
//! writes a file.

use anyhow::{Context, bail};
use bucket::{Bucket, Error};
use bytes::Bytes;
use lake::{Event, Schema, layout};
use tokio::sync::Semaphore;

use crate::patience::patiently;

/// Holds the events of this program against the schemas of the bucket, and writes down those that are new there. A
/// program that is older than the bucket's schema goes on: that is a rolling deploy.
///
/// # Errors
/// The bucket refuses, or a schema is another one than additions could make it. A bucket that cannot be reached is no
/// error: it is tried until it can.
pub async fn agree(bucket: &Bucket) -> anyhow::Result<()> {
    for event in Event::ALL {
        agree_on(bucket, Schema::of(event)).await?;
    }
    Ok(())
}

async fn agree_on(bucket: &Bucket, ours: Schema) -> anyhow::Result<()> {
    let (event, turns, folder) = (ours.event, Semaphore::new(1), layout::schemas_of(ours.event));
    loop {
        let known = patiently(&turns, "list", &folder, || async { bucket.list(&folder, "").await }).await?;
        if let Some(last) = known.last() {
            let contents = patiently(&turns, "read", &last.name, || async { bucket.read(&last.name).await }).await?;
            let contents = contents.with_context(|| format!("{} was there and is not any more", last.name))?;
            let theirs = serde_json::from_slice(&contents).with_context(|| format!("{} cannot be read", last.name))?;
            match relation(&theirs, &ours) {
                Relation::Same => return Ok(()),
                Relation::Older => {
                    tracing::warn!(%event, schema = last.name, "the bucket has a newer schema: its new columns stay empty");
                    return Ok(());
                }
                Relation::Newer => {}
                Relation::Strange(conflicts) => bail!(
                    "{event}: the schema of this program cannot follow {}: {conflicts}. An event of another name can have it",
                    last.name
                ),
            }
        }
        let object = layout::schema(event, u32::try_from(known.len())? + 1);
        let contents = Bytes::from(serde_json::to_vec_pretty(&ours)?);
        let created = patiently(&turns, "create", &object, || async {
            match bucket.create(&object, contents.clone()).await {
                // Another worker was first, or it was ours and only the reply was lost: look again.
                Ok(_) | Err(Error::Precondition { .. }) => Ok(()),
                Err(error) => Err(error),
            }
        });
        created.await?;
        tracing::info!(%event, object, "a new schema");
    }
}

/// How the schema of this program stands to the bucket's.
enum Relation {
    Same,
    /// Ours could have come before it.
    Older,
    /// Ours can follow it.
    Newer,
    /// Neither; and what keeps ours from following it.
    Strange(String),
}

fn relation(theirs: &Schema, ours: &Schema) -> Relation {
    let conflicts = theirs.conflicts(ours);
    match (conflicts.is_empty(), ours.conflicts(theirs).is_empty()) {
        // The order of columns may be another one.
        (true, true) => Relation::Same,
        (true, false) => Relation::Newer,
        (false, true) => Relation::Older,
        (false, false) => Relation::Strange(conflicts.join("; ")),
    }
}
