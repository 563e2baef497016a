//! What is asked by who operates, and what describes the rest.

use super::call::{Call, delete, get, post};
use crate::edge::dlq::{Dropped, Letters, Retried, Whole};
use crate::edge::health;
use crate::edge::replay::{Asked, Replay};
use crate::edge::webhooks::{Tested, Webhook, Webhooks, Wish};
use crate::edge::workers::Workers;

const TAG: &str = "operate";

pub(super) fn calls() -> Vec<Call> {
    vec![
        get(TAG, "/api/webhooks", "listWebhooks", "Who is told how jobs fare")
            .answers::<Webhooks>(200, "All webhooks")
            .problems(&[503]),
        post(TAG, "/api/webhooks", "addWebhook", "Tell an address how jobs fare")
            .about("Messages are signed by the Standard Webhooks specification. The secret is told in this answer and never again.")
            .takes_json::<Wish>()
            .answers::<Webhook>(201, "Added")
            .with("Location", "Its address")
            .problems(&[400, 403, 409, 413, 503, 507]),
        delete(TAG, "/api/webhooks/{webhook}", "removeWebhook", "Tell an address nothing more; twice is fine")
            .bare(204, "Gone")
            .problems(&[403, 404, 503]),
        post(TAG, "/api/webhooks/{webhook}/test", "testWebhook", "Send one message now")
            .answers::<Tested>(200, "What became of it")
            .problems(&[403, 404, 503]),
        get(TAG, "/api/workers", "listWorkers", "Who works, and on what")
            .answers::<Workers>(200, "Workers, those that are alive first")
            .problems(&[503]),
        post(TAG, "/api/replay", "replay", "Run a stage again from the log")
            .about("What is encoded already is not encoded again, and a job that has ended stays as it is.")
            .takes_json::<Asked>()
            .answers::<Replay>(200, "What would run again (`dry_run`)")
            .answers::<Replay>(202, "What runs again")
            .problems(&[400, 403, 404, 413, 503]),
        get(TAG, "/api/dlq", "listDeadLetters", "Events that stages gave up on and nobody has handled, newest first")
            .query::<String>("stage", "Only those of this stage")
            .query::<u16>("limit", "How many are shown, 100 unless said, at most 1000")
            .answers::<Letters>(200, "Dead letters")
            .problems(&[400, 503]),
        get(TAG, "/api/dlq/{letter}", "getDeadLetter", "A dead letter with its event")
            .answers::<Whole>(200, "The dead letter")
            .problems(&[404, 503]),
        delete(TAG, "/api/dlq/{letter}", "dropDeadLetter", "Mark a dead letter as one that nobody wants; twice is fine")
            .answers::<Dropped>(202, "Dropped")
            .problems(&[403, 404, 503]),
        post(TAG, "/api/dlq/{letter}/retry", "retryDeadLetter", "Put a dead letter's event back for the stage that gave up")
            .answers::<Retried>(202, "Put back")
            .problems(&[403, 404, 409, 503]),
        get(TAG, "/api/registry/subjects", "listSubjects", "The subjects of the topics' schemas")
            .about(
                "The read half of a schema registry in Confluent's shape, for any of its clients. Where the deployment has a \
                 registry of its own, this says so with 421.",
            )
            .tells(200, "application/vnd.schemaregistry.v1+json", "Names")
            .tells(421, "application/vnd.schemaregistry.v1+json", "There is a registry elsewhere"),
        get(TAG, "/api/registry/subjects/{name}/versions/latest", "getSubject", "The newest schema of a subject")
            .tells(200, "application/vnd.schemaregistry.v1+json", "Subject, version, id and schema")
            .tells(404, "application/vnd.schemaregistry.v1+json", "There is no such subject")
            .tells(421, "application/vnd.schemaregistry.v1+json", "There is a registry elsewhere"),
        get(TAG, "/api/health", "health", "Whether the doors answer")
            .about("Balancers ask `/readyz` on the ops address instead, which is 200 while this process can do its role.")
            .answers::<health::Told>(200, "All of them")
            .answers::<health::Told>(503, "Which one fails"),
        get(TAG, "/api/openapi.json", "openapi", "This description").tells(200, "application/json", "OpenAPI 3.1"),
        get(TAG, "/api/asyncapi.json", "asyncapi", "The events on the log").tells(200, "application/json", "AsyncAPI 3.1"),
        get(TAG, "/api/docs", "docs", "Both descriptions, to be read").tells(200, "text/html", "A page"),
        get(TAG, "/", "page", "The web page")
            .about("It is at `/jobs/{id}` and `/workers`, too; `/embed/{id}` is a player for other sites.")
            .tells(200, "text/html", "The page")
            .problems(&[503]),
    ]
}
