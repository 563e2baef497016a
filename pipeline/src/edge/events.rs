//! Records of the log as the events that job rows are folded from.

use connectors::log::Record;
use schemas::event::{
    CancelRequested, CaptionsWritten, Event, JobDeleted, JobEnded, RenditionAssessed, RenditionStitched,
    SourceClassified, SourceIllustrated, SourceProbed, UploadReceived,
};
use schemas::job::{JobEvent, JobRow};
use schemas::wire;

/// The event in `record`; absent when its topic says nothing about job rows.
pub fn read(record: &Record) -> Result<Option<JobEvent>, wire::Error> {
    let value = record.value.as_ref();
    let event = match record.at.topic.as_str() {
        UploadReceived::TOPIC => JobEvent::Received(wire::decode(value)?),
        SourceProbed::TOPIC => JobEvent::Probed(Box::new(wire::decode(value)?)),
        RenditionStitched::TOPIC => JobEvent::Stitched(wire::decode(value)?),
        SourceIllustrated::TOPIC => JobEvent::Illustrated(wire::decode(value)?),
        CaptionsWritten::TOPIC => JobEvent::Captioned(wire::decode(value)?),
        SourceClassified::TOPIC => JobEvent::Classified(wire::decode(value)?),
        RenditionAssessed::TOPIC => JobEvent::Assessed(wire::decode(value)?),
        CancelRequested::TOPIC => JobEvent::CancelRequested(wire::decode(value)?),
        JobEnded::TOPIC => JobEvent::Ended(wire::decode(value)?),
        JobDeleted::TOPIC => JobEvent::Deleted(wire::decode(value)?),
        _ => return Ok(None),
    };
    Ok(Some(event))
}

/// Folds everything that `from` knows into `row`; both are of one job.
pub fn merge(row: &mut JobRow, from: JobRow) {
    if from.deleted {
        *row = from;
        return;
    }
    let JobRow { received, probed, renditions, illustrated, captions, classified, assessed, .. } = from;
    let mut apply = |event, offset, timing| row.apply_made(event, offset, timing);
    received.into_iter().for_each(|fact| apply(JobEvent::Received(fact.event), fact.offset, fact.timing));
    probed.into_iter().for_each(|fact| apply(JobEvent::Probed(Box::new(fact.event)), fact.offset, fact.timing));
    renditions.into_values().for_each(|fact| apply(JobEvent::Stitched(fact.event), fact.offset, fact.timing));
    illustrated.into_iter().for_each(|fact| apply(JobEvent::Illustrated(fact.event), fact.offset, fact.timing));
    captions.into_values().for_each(|fact| apply(JobEvent::Captioned(fact.event), fact.offset, fact.timing));
    classified.into_iter().for_each(|fact| apply(JobEvent::Classified(fact.event), fact.offset, fact.timing));
    assessed.into_values().for_each(|fact| apply(JobEvent::Assessed(fact.event), fact.offset, fact.timing));
    from.cancel_requested
        .into_iter()
        .for_each(|fact| apply(JobEvent::CancelRequested(fact.event), fact.offset, fact.timing));
    from.ended.into_iter().for_each(|fact| apply(JobEvent::Ended(fact.event), fact.offset, fact.timing));
}
