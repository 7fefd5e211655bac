//! Example DAGs, each a lesson of a page: `streamcommerce --examples` has them beside the others.

mod assets;
mod branching;
mod callbacks;
mod daily;
mod etl;
mod groups;
mod isolation;
mod mapping;
mod new_files;
mod params;
mod pools;
mod retry;
mod sensors;
mod slow;

use orchestrator::dag::Dag;

/// Every example.
#[must_use]
pub fn examples() -> Vec<Dag> {
    let [producer, consumer] = assets::dags();
    vec![
        etl::dag(),
        retry::dag(),
        slow::dag(),
        daily::dag(),
        branching::dag(),
        mapping::dag(),
        groups::dag(),
        sensors::dag(),
        new_files::dag(),
        producer,
        consumer,
        pools::dag(),
        params::dag(),
        callbacks::dag(),
        isolation::dag(),
    ]
}
