//! Which partitions this worker has, and how they come and go.
//!
//! Start offsets come from the commit log and are set in the assignment callback, before the first fetch. What is
//! revoked is committed, if that is done in time; else its next owner reads it again. The callbacks run inside of a
//! poll, on the poll loop's thread.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::{join_all, try_join_all};
use lake::{Event, layout::LogId};
use rdkafka::{
    ClientContext, Offset, Statistics, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext},
    topic_partition_list::TopicPartitionListElem,
    types::RDKafkaRespErr,
};
use uuid::Uuid;

use crate::{
    commit_log::InKafka,
    kafka,
    owned::{Done, Owned, Uploader},
    range::OpenRange,
    settings::{KafkaOptions, Placement},
    topic_id::topic_id,
};

/// A partition of an event's topic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Partition {
    pub(crate) event: Event,
    pub(crate) number: i32,
}

impl Partition {
    /// None if nobody has subscribed to that topic.
    pub(crate) fn of(topic: &str, number: i32) -> Option<Self> {
        Some(Self { event: Event::of_topic(topic)?, number })
    }

    pub(crate) fn topic(self) -> &'static str {
        self.event.topic()
    }
}

/// How long a revoke may wait for commits: the others of the group wait with it.
const REVOKE: Duration = Duration::from_secs(10);

/// What the callbacks and the poll loop share.
pub(crate) struct Assigned {
    pub(crate) uploader: Uploader,
    pub(crate) kafka: KafkaOptions,
    pub(crate) app: String,
    pub(crate) epoch: u32,
    pub(crate) placement: Placement,
    pub(crate) owned: Mutex<BTreeMap<Partition, Owned>>,
    /// Why a partition could not be taken over, or given away whole.
    pub(crate) refused: Mutex<Option<anyhow::Error>>,
}

impl Assigned {
    pub(crate) fn owned(&self) -> MutexGuard<'_, BTreeMap<Partition, Owned>> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first thing that went wrong in a callback.
    pub(crate) fn refused(&self) -> Option<anyhow::Error> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn log(&self, of: Partition) -> LogId {
        LogId { app: self.app.clone(), topic: of.topic().to_owned(), epoch: self.epoch, partition: of.number }
    }

    /// An open range for a partition, from where its log ends.
    pub(crate) fn range(&self, of: Partition, next: i64, last: Option<i64>) -> Owned {
        Owned::new(OpenRange::new(of.event, self.log(of), self.placement, next, last))
    }

    /// Sets the start offsets of new partitions, from their commit logs.
    fn take_over(&self, consumer: &BaseConsumer<Self>, partitions: &mut TopicPartitionList) -> anyhow::Result<()> {
        let (runtime, logs) = (&self.uploader.runtime, &self.uploader.logs);
        let (hints, mut ids) = (hints(consumer, partitions), BTreeMap::<Event, Option<Uuid>>::new());
        let mut taken = Vec::new();
        for of in known(partitions) {
            let (low, high) = watermarks(consumer, of)?;
            let topic_id = match ids.get(&of.event) {
                Some(id) => *id,
                None => runtime.block_on(topic_id(&self.kafka, of.topic()))?,
            };
            ids.insert(of.event, topic_id);
            taken.push((of, InKafka { topic_id, low, high }, hints.get(&of).copied()));
        }
        let heads = taken.iter().map(|(of, kafka, hint)| async move {
            anyhow::Ok((*of, logs.take_over(&self.log(*of), *kafka, *hint).await?))
        });
        for (of, head) in runtime.block_on(try_join_all(heads))? {
            partitions.set_partition_offset(of.topic(), of.number, Offset::Offset(head.next))?;
            tracing::info!(topic = of.topic(), partition = of.number, from = head.next, "assigned");
            // Whoever published its last files may have died before it said so.
            if head.last_start.is_some() {
                self.uploader.announcer.tell(of.event);
            }
            self.owned().insert(of, self.range(of, head.next, head.last_start));
        }
        self.uploader.metrics.assigned();
        Ok(())
    }

    /// Commits what was read of partitions that go to somebody else, as far as that is done in time. Safe without: the
    /// commit log has one winner.
    fn give_away(&self, consumer: &BaseConsumer<Self>, partitions: &TopicPartitionList) -> anyhow::Result<()> {
        for of in known(partitions) {
            self.uploader.metrics.revoked(of.topic(), of.number);
        }
        let owned: Vec<_> = {
            let mut owned = self.owned();
            known(partitions).into_iter().filter_map(|of| Some((of, owned.remove(&of)?))).collect()
        };
        // Whoever was thrown out has nothing to give.
        if consumer.assignment_lost() {
            tracing::warn!(partitions = owned.len(), "lost; their new owners read the open ranges again");
            return Ok(());
        }
        self.finish(consumer, owned, REVOKE)
    }

    /// Commits all that was read of these partitions, within that time; what is left is read again by whoever has them
    /// next.
    pub(crate) fn finish(
        &self,
        consumer: &BaseConsumer<Self>,
        owned: Vec<(Partition, Owned)>,
        patience: Duration,
    ) -> anyhow::Result<()> {
        let finish = owned
            .into_iter()
            .map(|(of, owned)| async move { (of, tokio::time::timeout(patience, owned.finish(&self.uploader)).await) });
        for (of, finished) in self.uploader.runtime.block_on(join_all(finish)) {
            match finished {
                Ok(done) => {
                    if let Some(done) = done? {
                        hint(consumer, of, done, CommitMode::Sync);
                    }
                }
                Err(_) => tracing::warn!(
                    topic = of.topic(),
                    partition = of.number,
                    ?patience,
                    "not committed in time; what is open is read again"
                ),
            }
        }
        Ok(())
    }
}

/// Tells Kafka how far we are, for people who look at its lag and for a quick start. The commit log is the truth.
pub(crate) fn hint(consumer: &BaseConsumer<Assigned>, of: Partition, done: Done, mode: CommitMode) {
    let mut offsets = TopicPartitionList::new();
    let mut element = offsets.add_partition(of.topic(), of.number);
    element.set_metadata(done.start.to_string());
    let committed = element.set_offset(Offset::Offset(done.end)).and_then(|()| consumer.commit(&offsets, mode));
    if let Err(error) = committed {
        tracing::debug!(%error, "Kafka was not told how far we are");
    }
}

fn known(partitions: &TopicPartitionList) -> Vec<Partition> {
    let of = |element: &TopicPartitionListElem<'_>| Partition::of(element.topic(), element.partition());
    partitions.elements().iter().filter_map(of).collect()
}

/// The starts of the last manifests, as Kafka was told. Perhaps of another log, perhaps old.
fn hints(consumer: &BaseConsumer<Assigned>, partitions: &TopicPartitionList) -> BTreeMap<Partition, i64> {
    let committed = match consumer.committed_offsets(partitions.clone(), kafka::ASK) {
        Ok(committed) => committed,
        Err(error) => {
            tracing::warn!(%error, "Kafka does not tell the committed offsets; reading the whole commit logs");
            return BTreeMap::new();
        }
    };
    let hint = |element: &TopicPartitionListElem<'_>| {
        Some((Partition::of(element.topic(), element.partition())?, element.metadata().parse().ok()?))
    };
    committed.elements().iter().filter_map(hint).collect()
}

/// Asks a few times: a broker that restarts, or elects a leader, is back in a moment.
fn watermarks(consumer: &BaseConsumer<Assigned>, of: Partition) -> anyhow::Result<(i64, i64)> {
    const TIMES: u32 = 10;
    const APART: Duration = Duration::from_secs(1);
    for _ in 1..TIMES {
        match consumer.fetch_watermarks(of.topic(), of.number, kafka::ASK) {
            Ok(watermarks) => return Ok(watermarks),
            Err(error) => tracing::warn!(topic = of.topic(), partition = of.number, %error, "no watermarks yet"),
        }
        std::thread::sleep(APART);
    }
    Ok(consumer.fetch_watermarks(of.topic(), of.number, kafka::ASK)?)
}

impl ClientContext for Assigned {
    fn stats(&self, statistics: Statistics) {
        for (of, owned) in self.owned().iter() {
            let known = statistics.topics.get(of.topic()).and_then(|topic| topic.partitions.get(&of.number));
            // Before the first answer it is -1001.
            if let Some(high) = known.map(|known| known.hi_offset).filter(|high| *high >= 0) {
                let range = &owned.range;
                self.uploader.metrics.lag(of.topic(), of.number, (high - range.next()).max(0), range.timestamp_ms());
            }
        }
    }
}

impl ConsumerContext for Assigned {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let done = match error {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self
                .take_over(consumer, partitions)
                .and_then(|()| consumer.incremental_assign(partitions).map_err(Into::into)),
            _ => self
                .give_away(consumer, partitions)
                .and_then(|()| consumer.incremental_unassign(partitions).map_err(Into::into)),
        };
        if let Err(error) = done {
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
    }
}
