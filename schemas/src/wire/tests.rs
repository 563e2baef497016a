use proptest::prelude::*;

use super::*;
use crate::JobId;
use crate::event::{CancelRequested, JobDeleted, JobProgress, StageState};

fn progress(done: u64, note: Option<String>) -> JobProgress {
    JobProgress {
        job: JobId::from_parts(1_700_000_000_000, 7),
        stage: "transcode".into(),
        state: StageState::Running,
        unit: 3,
        units: 9,
        done,
        weight: 100,
        total_weight: 900,
        playable: true,
        attempt: 1,
        worker: "studio/1".into(),
        at: 1_700_000_000_123,
        note,
    }
}

#[test]
fn a_value_begins_with_zero_and_its_schema_id() {
    let value = encode(&progress(1, None)).unwrap();
    assert_eq!(value[..FRAME_BYTES], [0, 0, 0, 0, 13]);
    assert_eq!(schema_id(&value).unwrap(), crate::topic::find("job.progress").unwrap().schema_id().unwrap());
}

#[test]
fn what_is_no_event_is_refused_with_a_reason() {
    let whole = encode(&progress(1, None)).unwrap();
    let said = |value: &[u8]| decode::<JobProgress>(value).unwrap_err().to_string();
    assert!(said(b"").contains("empty"));
    assert!(said(b"\0\0\0").contains("shorter than a frame"));
    assert!(said(b"{\"job\": 1}").contains("zero byte"));
    assert!(said(&[0, 0, 0, 99, 99]).contains("schema id 25443 is unknown"));
    assert!(said(&whole[..whole.len() - 4]).starts_with("decode job.progress"));
    assert!(said(&[whole.as_slice(), b"xx"].concat()).contains("2 bytes follow"));
}

#[test]
fn an_event_of_another_topic_is_refused() {
    let job = JobId::from_parts(0, 1);
    let value = encode(&CancelRequested { job, at: 0 }).unwrap();
    let error = decode::<JobDeleted>(&value).unwrap_err();
    assert_eq!(error.to_string(), "decode job.deleted: the value carries cancel.requested");
}

#[test]
fn counts_beyond_a_long_are_refused_in_both_directions() {
    assert!(encode(&progress(u64::MAX, None)).unwrap_err().to_string().contains("too large"));
    let mut json = decode_json("job.progress", &encode(&progress(1, None)).unwrap()).unwrap();
    json["done"] = (-1).into();
    let negative = encode_json("job.progress", &json).unwrap();
    assert!(decode::<JobProgress>(&negative).unwrap_err().to_string().contains("negative"));
}

/// `job.deleted` as a later version of the program may know it.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename = "JobDeleted")]
struct SignedDelete {
    job: JobId,
    at: i64,
    by: Option<String>,
}

#[test]
fn values_of_an_older_version_are_resolved_to_the_newest() {
    let mut topic = crate::topic::find("job.deleted").unwrap().clone();
    let mut schema: serde_json::Value = serde_json::from_str(topic.schema().unwrap()).unwrap();
    let by = serde_json::json!({ "name": "by", "type": ["null", "string"], "default": null });
    schema["fields"].as_array_mut().unwrap().push(by);
    let text: &'static str = Box::leak(schema.to_string().into_boxed_str());
    let old = topic.schema_id().unwrap();
    topic.versions.push(crate::topic::Version { version: 2, id: 1000, file: "job_deleted.v2.avsc".into(), text });
    let topics: &'static [_] = Box::leak(Box::new([topic]));
    let schemas = Box::leak(Box::new(cache::parse(topics).unwrap()));
    let codecs = cache::build(topics, schemas).unwrap();

    let job = JobId::from_parts(5, 6);
    let written = encode(&JobDeleted { job, at: 7 }).unwrap();
    let read: SignedDelete = decode_body(&codecs.by_id[&old], &written[FRAME_BYTES..]).unwrap();
    assert_eq!(read, SignedDelete { job, at: 7, by: None });
    let signed = SignedDelete { job, at: 8, by: Some("ops".into()) };
    let written = codecs.by_id[&1000].writer.write_ser_to_vec(&signed).unwrap();
    assert_eq!(decode_body::<SignedDelete>(&codecs.by_id[&1000], &written).unwrap(), signed);
}

#[test]
fn two_schemas_of_one_id_are_refused() {
    let topic = crate::topic::find("job.deleted").unwrap().clone();
    let error = cache::parse(&[topic.clone(), topic]).unwrap_err();
    assert!(error.contains("schema id 12 is taken"), "{error}");
}

#[test]
fn json_needs_every_field_without_a_default() {
    let job = JobId::from_parts(0, 1).to_string();
    assert!(encode_json("job.deleted", &serde_json::json!({ "job": job })).is_err());
    assert!(encode_json("no.such", &serde_json::json!({})).unwrap_err().to_string().contains("no.such"));
}

proptest! {
    #[test]
    fn events_read_back(done in 0..=i64::MAX as u64, note in prop::option::of(".*")) {
        let event = progress(done, note);
        prop_assert_eq!(decode::<JobProgress>(&encode(&event).unwrap()).unwrap(), event);
    }

    #[test]
    fn damaged_values_are_refused_or_read_but_never_panic(at in 5usize..60, byte in any::<u8>()) {
        let mut value = encode(&progress(5, Some("a note".into()))).unwrap();
        let at = at.min(value.len() - 1);
        value[at] = byte;
        let _ = decode::<JobProgress>(&value);
        let _ = decode_json("job.progress", &value);
    }
}

/// Our schema of `topic`, changed by `edit`.
fn foreign(topic: &str, edit: impl Fn(&mut serde_json::Value)) -> String {
    let mut schema = serde_json::from_str(crate::topic::find(topic).unwrap().schema().unwrap()).unwrap();
    edit(&mut schema);
    schema.to_string()
}

/// `value` as written by `schema`, without a frame.
fn written_by(schema: &str, value: serde_json::Value) -> Vec<u8> {
    let schema = apache_avro::Schema::parse_str(schema).unwrap();
    let value = Value::try_from(value).unwrap().resolve(&schema).unwrap();
    let writer = apache_avro::writer::datum::GenericDatumWriter::builder(&schema).build().unwrap();
    let mut bytes = Vec::new();
    writer.write_value_ref(&mut bytes, &value).unwrap();
    bytes
}

#[test]
fn an_event_by_a_schema_of_somebody_else_becomes_ours() {
    let job = JobId::from_parts(5, 6);
    // In another order, with a field more, another namespace and other texts.
    let schema = foreign("job.deleted", |schema| {
        schema["namespace"] = "org.example".into();
        schema["doc"] = "Theirs.".into();
        let fields = schema["fields"].as_array_mut().unwrap();
        fields.reverse();
        fields.push(serde_json::json!({ "name": "why", "type": ["null", "string"], "default": null }));
    });
    let body = written_by(&schema, serde_json::json!({ "job": job.to_string(), "at": 7, "why": "spam" }));
    let schema = Foreign::parse(&schema).unwrap();
    let ours = JobDeleted { job, at: 7 };
    assert_eq!(schema.adopt("job.deleted", &body).unwrap(), encode(&ours).unwrap());
    assert!(schema.adopt("job.deleted", &body[..3]).is_err(), "what is cut short is none");
    assert!(schema.adopt("job.deleted", &[body, vec![0]].concat()).unwrap_err().to_string().contains("1 bytes follow"));
    assert!(schema.adopt("nothing", b"").unwrap_err().to_string().contains("`nothing` has no schema"));

    // What it lacks has a default.
    let schema = foreign("job.progress", |schema| {
        schema["fields"].as_array_mut().unwrap().retain(|field| field["name"] != "note");
    });
    let mut json = decode_json("job.progress", &encode(&progress(1, Some("a note".into()))).unwrap()).unwrap();
    json.as_object_mut().unwrap().remove("note");
    let body = written_by(&schema, json);
    let adopted = Foreign::parse(&schema).unwrap().adopt("job.progress", &body).unwrap();
    assert_eq!(decode::<JobProgress>(&adopted).unwrap(), progress(1, None));
}

#[test]
fn a_schema_that_means_something_else_is_refused_whatever_its_fields_are() {
    let (job, at) = (JobId::from_parts(5, 6), 7);
    let body = encode(&CancelRequested { job, at }).unwrap();
    let cancel = Foreign::parse(crate::topic::find("cancel.requested").unwrap().schema().unwrap()).unwrap();
    assert!(cancel.adopt("cancel.requested", &body[FRAME_BYTES..]).is_ok());
    let refused = cancel.adopt("job.deleted", &body[FRAME_BYTES..]).unwrap_err().to_string();
    assert!(refused.starts_with("adopt job.deleted"), "{refused}");

    let other = foreign("job.deleted", |schema| schema["fields"][1]["type"] = "string".into());
    let body = written_by(&other, serde_json::json!({ "job": job.to_string(), "at": "noon" }));
    assert!(Foreign::parse(&other).unwrap().adopt("job.deleted", &body).is_err());
    let less = foreign("job.deleted", |schema| drop(schema["fields"].as_array_mut().unwrap().pop()));
    let body = written_by(&less, serde_json::json!({ "job": job.to_string() }));
    assert!(Foreign::parse(&less).unwrap().adopt("job.deleted", &body).is_err());
    for text in ["", "{}", "\"Claim\""] {
        assert!(Foreign::parse(text).is_err(), "{text}");
    }
}

#[test]
fn an_id_that_stands_in_for_another_is_known_to_nobody_and_names_the_other() {
    let deleted = encode(&JobDeleted { job: JobId::from_parts(0, 1), at: 0 }).unwrap();
    let id = schema_id(&deleted).unwrap();
    let value = [&[0], standing_in(id).to_be_bytes().as_slice(), &deleted[FRAME_BYTES..]].concat();
    assert_eq!(decode::<JobDeleted>(&value).unwrap_err().to_string(), format!("schema id {id} is unknown"));
}
