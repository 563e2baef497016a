//! What brings videos in.

use schemas::job::JobView;
use utoipa::openapi::Required;
use utoipa::openapi::path::HttpMethod;

use super::call::{Call, delete, get, post};
use crate::edge::tus::Upload;

const TAG: &str = "uploads";
const ONE: &str = "/api/uploads/{id}";

pub(super) fn calls() -> Vec<Call> {
    let version = |call: Call| call.header("Tus-Resumable", Required::True, "`1.0.0`");
    vec![
        post(TAG, "/api/upload", "upload", "Upload a video")
            .about("One file, as the first file part of a form or as the body. Answered when bytes and event are durable.")
            .query::<String>("name", "Name of the file, when it is the body")
            .takes_form()
            .takes("video/*")
            .takes("application/octet-stream")
            .answers::<JobView>(201, "Received")
            .with("Location", "Address of the job")
            .problems(&[400, 403, 408, 413, 415, 503, 507]),
        version(post(TAG, "/api/uploads", "beginUpload", "Begin a resumable upload"))
            .about(
                "tus 1.0.0 with creation, creation-with-upload, creation-defer-length, checksum, termination and expiration; any \
                 client of tus will do, such as tus-js-client or Uppy. A finished upload is a job of the same id, and the last \
                 answer names it in `StreamForge-Job`.",
            )
            .header("Upload-Length", Required::False, "Bytes of the whole, unless `Upload-Defer-Length` is 1")
            .header("Upload-Defer-Length", Required::False, "`1` when the length is told later")
            .header("Upload-Metadata", Required::False, "Pairs of key and Base64 value; `filename` is the name that is shown")
            .bare(201, "Begun")
            .with("Location", "Address of the upload")
            .with("Upload-Offset", "Bytes that came along and are durable")
            .with("Upload-Expires", "When it goes unless more comes")
            .with("StreamForge-Job", "The job, when this was all")
            .problems(&[400, 403, 408, 412, 413, 415, 460, 503, 507]),
        get(TAG, ONE, "getUpload", "How far an upload is, and which job it has become")
            .answers::<Upload>(200, "The upload")
            .problems(&[404, 410, 503]),
        version(Call::new(HttpMethod::Head, TAG, ONE, "getUploadOffset", "Where an upload goes on"))
            .bare(200, "It goes on at `Upload-Offset`")
            .with("Upload-Offset", "Bytes that are durable")
            .with("Upload-Length", "Bytes of the whole, once they are known")
            .with("StreamForge-Job", "The job, once it is complete")
            .problems(&[404, 410, 412, 503]),
        version(Call::new(HttpMethod::Patch, TAG, ONE, "appendToUpload", "Append bytes"))
            .about("A 409 names the offset at which it goes on, a 423 says that another client is at it.")
            .header("Upload-Offset", Required::True, "Where the bytes belong")
            .header("Upload-Checksum", Required::False, "`sha1` or `sha256`, and the sum of this body in Base64")
            .takes("application/offset+octet-stream")
            .bare(204, "Taken, up to `Upload-Offset`")
            .with("Upload-Offset", "Bytes that are durable")
            .with("StreamForge-Job", "The job, when this was all")
            .problems(&[400, 403, 404, 408, 409, 410, 412, 413, 415, 423, 460, 503, 507]),
        version(delete(TAG, ONE, "terminateUpload", "Give an upload up, or the job that it has become"))
            .bare(204, "Gone")
            .problems(&[403, 404, 412, 423, 503]),
    ]
}
