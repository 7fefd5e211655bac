//! A bucket that does not answer is asked again.

use std::time::Duration;

use bucket::Error;
use tokio::sync::Semaphore;

/// The first and the longest pause between two tries to reach the bucket.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// A connection that has silently gone must not hold a commit for ever; a big file on a slow line may take its time.
const ANSWER: Duration = Duration::from_secs(300);

/// Tries until the bucket answers. What it answers may still be an error that trying again does not mend.
pub(crate) async fn patiently<T, F>(
    turns: &Semaphore,
    what: &'static str,
    object: &str,
    call: impl Fn() -> F,
) -> anyhow::Result<T>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut pause = BACKOFF.0;
    loop {
        let answered = {
            let _turn = turns.acquire().await?;
            tokio::time::timeout(ANSWER, call()).await
        };
        match answered {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(Error::Failed { reason, .. })) => {
                tracing::warn!(what, object, reason, "the bucket does not answer; trying again");
            }
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => tracing::warn!(what, object, after = ?ANSWER, "the bucket does not answer; trying again"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(BACKOFF.1);
    }
}
