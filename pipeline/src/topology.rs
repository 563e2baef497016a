//! THE list of stages, one line each, and the rules that the list must keep.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use connectors::log::{Retention, TopicSpec};
use schemas::event::{CancelRequested, JobDeleted, UploadReceived};
use schemas::{Event, topic};

use crate::media::Engine;
use crate::ml::listener::Listener;
use crate::ml::viewer::Viewer;
use crate::stage::AnyStage;
use crate::stages::{
    assess::Assess, caption::Caption, classify::Classify, illustrate::Illustrate, probe::Probe, split::Split,
    stitch::Stitch, transcode::Transcode,
};

/// Topics that no stage writes: what comes from outside, through the edge or from any producer.
const FROM_OUTSIDE: [&str; 3] = [UploadReceived::TOPIC, CancelRequested::TOPIC, JobDeleted::TOPIC];

/// The list cannot be run.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// They would share a consumer group and steal each other's events.
    #[error("two stages are named `{0}`: a name is a consumer group and must be unique")]
    SameName(&'static str),
    /// Its events have no description, partitions or schema.
    #[error("stage `{stage}` uses the topic `{topic}`, which has no file in schemas/topics")]
    UnknownTopic {
        /// The stage.
        stage: &'static str,
        /// The topic.
        topic: &'static str,
    },
    /// The stage would wait for ever.
    #[error("stage `{stage}` reads `{input}`, which neither a stage nor the edge writes")]
    NobodyWrites {
        /// The stage.
        stage: &'static str,
        /// Its input.
        input: &'static str,
    },
    /// One event would turn into more events without end.
    #[error("the stages run in a circle: {}", .0.join(" -> "))]
    Cycle(Vec<&'static str>),
    /// A stage was asked for that is not in the list.
    #[error("there is no stage `{asked}`; did you mean `{nearest}`? The stages are {}", .known.join(", "))]
    UnknownStage {
        /// As it was asked for.
        asked: String,
        /// The one that is closest.
        nearest: &'static str,
        /// Those that exist.
        known: Vec<&'static str>,
    },
}

/// All stages of StreamForge, checked; they do media work with `engine`, hear with `listener` and see with `viewer`.
pub fn stages<E: Engine + Clone>(
    engine: &E,
    listener: &Arc<dyn Listener>,
    viewer: &Arc<dyn Viewer>,
) -> Result<Vec<Arc<dyn AnyStage>>, Error> {
    let stages: Vec<Arc<dyn AnyStage>> = vec![
        Arc::new(Probe::new(engine.clone())),
        Arc::new(Split),
        Arc::new(Transcode::new(engine.clone())),
        Arc::new(Stitch),
        Arc::new(Illustrate::new(engine.clone())),
        Arc::new(Caption::new(engine.clone(), Arc::clone(listener))),
        Arc::new(Classify::new(engine.clone(), Arc::clone(viewer))),
        Arc::new(Assess::new(engine.clone())),
    ];
    check(&stages)?;
    Ok(stages)
}

/// Stands for every stage.
pub const ALL: &str = "all";

/// The stages of `stages` that `names` lists, in the order of the topology; [`ALL`] stands for every one.
pub fn select(stages: Vec<Arc<dyn AnyStage>>, names: &[String]) -> Result<Vec<Arc<dyn AnyStage>>, Error> {
    let is_known = |name: &str| name == ALL || stages.iter().any(|stage| stage.name() == name);
    if let Some(asked) = names.iter().find(|name| !is_known(name)) {
        let known: Vec<_> = stages.iter().map(|stage| stage.name()).collect();
        let far = |name: &&&str| strsim::damerau_levenshtein(name, &asked.to_lowercase());
        let nearest = known.iter().chain(&[ALL]).min_by_key(far).copied().unwrap_or(ALL);
        return Err(Error::UnknownStage { asked: asked.clone(), nearest, known });
    }
    let is_asked = |stage: &Arc<dyn AnyStage>| names.iter().any(|name| name == ALL || name == stage.name());
    Ok(stages.into_iter().filter(is_asked).collect())
}

/// Every topic that must exist: all that have a file, and the dead letters of `stages`.
pub fn topics(stages: &[Arc<dyn AnyStage>]) -> Vec<TopicSpec> {
    let dead_letters = stages.iter().map(|stage| topic::dead_letters(stage.name()));
    topic::all()
        .iter()
        .cloned()
        .chain(dead_letters)
        .map(|topic| TopicSpec {
            name: topic.name,
            partitions: topic.partitions,
            retention: Retention {
                max_age_ms: topic.retention.max_age_ms,
                max_bytes: topic.retention.max_bytes,
                is_compacted: topic.retention.is_compacted,
            },
            min_in_sync: topic.min_in_sync,
        })
        .collect()
}

/// Refuses a list that cannot work; the whole list, not a selection.
pub fn check(stages: &[Arc<dyn AnyStage>]) -> Result<(), Error> {
    let mut names = BTreeSet::new();
    for stage in stages {
        if !names.insert(stage.name()) {
            return Err(Error::SameName(stage.name()));
        }
    }
    for stage in stages {
        if let Some(topic) = [stage.input(), stage.output()].into_iter().find(|name| topic::find(name).is_none()) {
            return Err(Error::UnknownTopic { stage: stage.name(), topic });
        }
    }
    let written: BTreeSet<_> = stages.iter().map(|stage| stage.output()).chain(FROM_OUTSIDE).collect();
    if let Some(stage) = stages.iter().find(|stage| !written.contains(stage.input())) {
        return Err(Error::NobodyWrites { stage: stage.name(), input: stage.input() });
    }
    match cycle(stages) {
        Some(circle) => Err(Error::Cycle(circle)),
        None => Ok(()),
    }
}

/// A circle of topics, if there is one, closed by its first topic.
fn cycle(stages: &[Arc<dyn AnyStage>]) -> Option<Vec<&'static str>> {
    let mut arrows: BTreeMap<&str, Vec<&'static str>> = BTreeMap::new();
    for stage in stages {
        arrows.entry(stage.input()).or_default().push(stage.output());
    }
    let mut safe = BTreeSet::new();
    stages.iter().find_map(|stage| walk(stage.input(), &arrows, &mut Vec::new(), &mut safe))
}

/// Follows the arrows from `topic`; `path` is how it was reached, `safe` what leads into no circle.
fn walk(
    topic: &'static str,
    arrows: &BTreeMap<&str, Vec<&'static str>>,
    path: &mut Vec<&'static str>,
    safe: &mut BTreeSet<&'static str>,
) -> Option<Vec<&'static str>> {
    if safe.contains(topic) {
        return None;
    }
    if let Some(start) = path.iter().position(|seen| *seen == topic) {
        return Some(path[start..].iter().copied().chain([topic]).collect());
    }
    path.push(topic);
    let found = arrows.get(topic).into_iter().flatten().find_map(|next| walk(next, arrows, path, safe));
    path.pop();
    if found.is_none() {
        safe.insert(topic);
    }
    found
}

#[cfg(test)]
mod tests {
    use schemas::wire;

    use super::*;
    use crate::media::child::ChildEngine;
    use crate::ml::listener::{Absent, Nobody};
    use crate::ml::viewer::Blind;
    use crate::stage::{Lane, Work};

    struct Arrow(&'static str, &'static str, &'static str);

    impl AnyStage for Arrow {
        fn name(&self) -> &'static str {
            self.0
        }
        fn input(&self) -> &'static str {
            self.1
        }
        fn output(&self) -> &'static str {
            self.2
        }
        fn is_native(&self) -> bool {
            false
        }
        fn is_required(&self) -> bool {
            true
        }
        fn lane(&self) -> Lane {
            Lane::Main
        }
        fn open(self: Arc<Self>, _value: &[u8]) -> Result<Work, wire::Error> {
            Err(wire::Error::Framing("only a name"))
        }
    }

    fn list(arrows: &[(&'static str, &'static str, &'static str)]) -> Vec<Arc<dyn AnyStage>> {
        arrows.iter().map(|(name, input, output)| Arc::new(Arrow(name, input, output)) as Arc<dyn AnyStage>).collect()
    }

    const GOOD: [(&str, &str, &str); 4] = [
        ("probe", "upload.received", "source.probed"),
        ("split", "source.probed", "chunk.cut"),
        ("transcode", "chunk.cut", "chunk.transcoded"),
        ("stitch", "chunk.transcoded", "rendition.stitched"),
    ];

    #[test]
    fn the_list_of_this_program_is_sound() {
        let absent = Absent("it is a test".to_owned());
        let (listener, viewer): (Arc<dyn Listener>, Arc<dyn Viewer>) =
            (Arc::new(Nobody(absent.clone())), Arc::new(Blind(absent)));
        let listed = stages(&ChildEngine::new("streamforge", &[]), &listener, &viewer).expect("sound");
        let names: Vec<_> = listed.iter().map(|stage| stage.name()).collect();
        assert_eq!(names, ["probe", "split", "transcode", "stitch", "illustrate", "caption", "classify", "assess"]);
    }

    #[test]
    fn a_sound_list_passes() {
        assert_eq!(check(&list(&GOOD)), Ok(()));
    }

    #[test]
    fn each_mistake_is_named() {
        let with = |more| check(&list(&[&GOOD[..], &[more]].concat())).expect_err("refused").to_string();
        assert_eq!(
            with(("probe", "upload.received", "source.classified")),
            "two stages are named `probe`: a name is a consumer group and must be unique"
        );
        assert_eq!(
            with(("sing", "source.probed", "song.sung")),
            "stage `sing` uses the topic `song.sung`, which has no file in schemas/topics"
        );
        assert_eq!(
            with(("assess", "captions.written", "rendition.assessed")),
            "stage `assess` reads `captions.written`, which neither a stage nor the edge writes"
        );
        assert_eq!(
            with(("again", "rendition.stitched", "chunk.cut")),
            "the stages run in a circle: chunk.cut -> chunk.transcoded -> rendition.stitched -> chunk.cut"
        );
        assert_eq!(
            with(("echo", "upload.received", "upload.received")),
            "the stages run in a circle: upload.received -> upload.received"
        );
    }

    #[test]
    fn a_selection_keeps_the_order_and_names_what_is_missing() {
        let names = |stages: Vec<Arc<dyn AnyStage>>| stages.iter().map(|stage| stage.name()).collect::<Vec<_>>();
        let two = select(list(&GOOD), &["stitch".to_owned(), "probe".to_owned()]);
        assert_eq!(two.map(names), Ok(vec!["probe", "stitch"]));
        let error = select(list(&GOOD), &["trancsode".to_owned()]).map(names).expect_err("refused");
        let said =
            "there is no stage `trancsode`; did you mean `transcode`? The stages are probe, split, transcode, stitch";
        assert_eq!(error.to_string(), said);
        let all = select(list(&GOOD), &["all".to_owned()]).map(names);
        assert_eq!(all, Ok(vec!["probe", "split", "transcode", "stitch"]));
    }

    #[test]
    fn every_topic_and_every_stage_s_dead_letters_are_made() {
        let specs = topics(&list(&GOOD));
        for name in ["upload.received", "job.progress", "transcode.dlq"] {
            assert!(specs.iter().any(|spec| spec.name == name && spec.partitions > 0), "no `{name}`");
        }
    }
}
