//! `streaming skip`: an operator leaves offsets out, and the log says so.

use anyhow::ensure;
use bucket::Bucket;
use lake::layout::LogId;

use crate::commit_log::CommitLogs;

/// Leaves out what is not committed of a partition, up to an offset. What a worker has read of it and not committed is
/// dropped when it finds this; it goes on at the offset.
///
/// # Errors
/// Nothing is left to skip, the log has not begun, or somebody commits at the same time.
pub async fn skip(bucket: &Bucket, log: &LogId, to: i64) -> anyhow::Result<i64> {
    let logs = CommitLogs::new(bucket.clone());
    let skipped = logs.skip(log, to).await?;
    ensure!(skipped.is_some(), "somebody has committed at the same time: look at `streaming status`, then try again");
    Ok(skipped.unwrap_or_default())
}
