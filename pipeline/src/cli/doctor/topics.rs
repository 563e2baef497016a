//! How the topics of a shared log are, beside how they should be.

use std::sync::Arc;

use connectors::Log;
use connectors::clock::SystemClock;
use connectors::log::Difference;
use connectors::open::{self, LogAt, Wanted};

use super::Finding;
use crate::cli::roles::{Role, Stages};
use crate::ml::listener::{Absent, Nobody};
use crate::ml::viewer::Blind;
use crate::stage::chain;

/// Differences that are told in full.
const TOLD: usize = 5;

/// What is found on brokers that this process has not asked yet; nothing where there are none, or where they do not answer.
pub(super) async fn on_the_brokers(wanted: &Wanted) -> Option<Finding> {
    if wanted.log == LogAt::Embedded {
        return None;
    }
    compared(&*open::log(wanted, Arc::new(SystemClock)).await.ok()?).await
}

/// Compares the topics of `log` with those of this program.
pub(super) async fn compared(log: &dyn Log) -> Option<Finding> {
    let absent = Absent("topics need no model".to_owned());
    let (nobody, blind) = (Arc::new(Nobody(absent.clone())), Arc::new(Blind(absent)));
    let topics = Stages::of(&Role::Up, nobody, blind).ok()?.topics();
    Some(match log.differences(&topics).await {
        Ok(differences) => judged(topics.len(), &differences),
        Err(error) => {
            let fix = "see that this user may describe topics and their settings";
            Finding::warn("topics", format!("cannot be compared: {}", chain(&error)), fix)
        }
    })
}

fn judged(topics: usize, differences: &[Difference]) -> Finding {
    const CHECK: &str = "topics";
    let of = |what: &str| differences.iter().filter(|difference| difference.what == what).count();
    if differences.is_empty() {
        return Finding::ok(CHECK, format!("{topics} are as they should be"));
    }
    if of("topic") == topics {
        return Finding::ok(CHECK, format!("{topics} are made on the first start"));
    }
    let mut told: Vec<String> = differences.iter().take(TOLD).map(Difference::to_string).collect();
    if differences.len() > TOLD {
        told.push(format!("{} more", differences.len() - TOLD));
    }
    let found = told.join("; ");
    if of("partitions") > 0 {
        let fix = "use the cluster with the release that made the topics: partitions are never changed by themselves";
        return Finding::fail(CHECK, found, fix);
    }
    let fix = "the next start makes what is missing and applies retention; change the rest with the tools of Kafka, or the \
               STREAMFORGE_KAFKA_… variable that asks for it";
    Finding::warn(CHECK, found, fix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Health;

    fn difference(topic: &str, what: &str, found: Option<&str>) -> Difference {
        let found = found.map(str::to_owned);
        Difference { topic: topic.to_owned(), what: what.to_owned(), found, wanted: "3".to_owned() }
    }

    #[test]
    fn what_cannot_start_fails_and_the_rest_is_told() {
        assert_eq!(judged(2, &[]).health, Health::Ok);
        let fresh = [difference("a", "topic", None), difference("b", "topic", None)];
        assert_eq!((judged(2, &fresh).health, judged(3, &fresh).health), (Health::Ok, Health::Warn));
        let copies = difference("a", "replication.factor", Some("1"));
        let told = judged(2, std::slice::from_ref(&copies));
        assert_eq!(told.health, Health::Warn);
        assert!(told.found.contains("`a`: replication.factor is 1, 3 is wanted"), "{told:?}");
        let other = judged(2, &[copies, difference("b", "partitions", Some("8"))]);
        assert!(other.health == Health::Fail && other.found.contains("partitions is 8"), "{other:?}");
        let many = vec![difference("a", "retention.ms", None); 9];
        assert!(judged(12, &many).found.ends_with("; 4 more"));
    }
}
