//! A request as a job, and a job as the request it was.
//!
//! What is stored is what the call is: names, arguments, how often it may be tried. What was about the moment is left
//! behind: the deadline was the patience of somebody who waits no longer, and credentials are those of whoever sends
//! it. A job keeps no answer in the cache, and makes worthless what the call would have made worthless.

use super::job::{Job, JobId, NewJob, Reason};
use crate::clock::Wall;
use crate::config::QueueConfig;
use crate::fingerprint::fingerprint;
use crate::pipeline::service::{CacheWish, Request};
use crate::profile::Profile;
use crate::site::Priority;
use serde_json::{Value, json};
use std::time::Duration;

/// What is said about a job beside the request.
pub(crate) struct Occasion {
    pub(crate) reason: Reason,
    pub(crate) id: JobId,
    pub(crate) due: Wall,
    pub(crate) now: Wall,
    pub(crate) priority: Priority,
    /// The argument by whose value jobs of the operation keep their order.
    pub(crate) order_by: Option<String>,
    /// The execution that was put off.
    pub(crate) execution: String,
    /// What the service is asked by, where it has taken the call on.
    pub(crate) accepted: Option<String>,
}

/// The job a request becomes.
pub(crate) fn job(request: &Request, occasion: Occasion, config: &QueueConfig) -> NewJob {
    let Request { service, operation, arguments, profile, .. } = request;
    let Occasion { id, reason, due, now, priority, order_by, execution, accepted } = occasion;
    // Of two services' operations of one name neither holds up the other.
    // The value is not said: the key stays, and is shown, where the arguments do and are not.
    let order_key = order_by
        .and_then(|argument| arguments.get(&argument))
        .map(|value| format!("{service}.{operation}:{}", fingerprint(value)));
    NewJob {
        id,
        arguments: arguments.clone(),
        options: options(request),
        repeatable: request.repeatable,
        priority,
        order_key,
        reason,
        created: now,
        due,
        expires: now.after(config.expire_after),
        max_attempts: config.max_attempts,
        execution: Some(execution),
        accepted,
        ..NewJob::new(profile.name, service, operation, now)
    }
}

fn options(request: &Request) -> Value {
    json!({
        "read_only": request.read_only,
        "timeout_ms": request.timeout.map(|timeout| timeout.as_millis() as u64),
        "retries": request.retries,
        "invalidates": request.invalidates,
    })
}

/// The request a job was, as far as it is to be made again.
pub(crate) fn request(job: &Job, profile: &'static Profile) -> Request {
    let said = |name: &str| &job.options[name];
    let invalidates = said("invalidates").as_array().into_iter().flatten();
    Request {
        arguments: job.arguments.clone().unwrap_or_default(),
        repeatable: job.repeatable,
        read_only: said("read_only").as_bool().unwrap_or(false),
        priority: Some(job.priority),
        timeout: said("timeout_ms").as_u64().map(Duration::from_millis),
        retries: said("retries").as_u64().and_then(|retries| retries.try_into().ok()),
        cache: CacheWish::Never,
        deferrable: Some(false),
        queued: Some(false),
        fallible: false,
        invalidates: invalidates.filter_map(|operation| Some(operation.as_str()?.to_owned())).collect(),
        ..Request::new(&*job.service, &*job.operation, profile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn occasion(order_by: Option<&str>) -> Occasion {
        let now = Wall::from_millis(1_800_000_000_000);
        Occasion {
            id: JobId::drawn(Wall::from_millis(0), 7, 1),
            reason: Reason::Maintenance,
            due: now.after(Duration::from_secs(60)),
            now,
            priority: Priority::Low,
            order_by: order_by.map(str::to_owned),
            execution: "run-7".to_owned(),
            accepted: None,
        }
    }

    #[test]
    fn a_job_is_the_request_it_was_made_of() {
        let mut was = Request::new("crm", "update", Profile::GENERAL);
        was.arguments.insert("id".into(), json!(7));
        was.repeatable = true;
        was.timeout = Some(Duration::from_millis(1_500));
        was.retries = Some(1);
        was.deadline = Some(Duration::from_secs(2));
        was.invalidates = vec!["get".into(), "billing.get".into()];
        let job = Job::from(job(&was, occasion(None), &QueueConfig::default()));
        let is = request(&job, Profile::GENERAL);
        assert_eq!((&*is.service, &*is.operation, &is.arguments), ("crm", "update", &was.arguments));
        assert_eq!((is.repeatable, is.read_only, is.priority), (true, false, Some(Priority::Low)));
        assert_eq!((is.timeout, is.retries, &is.invalidates), (was.timeout, was.retries, &was.invalidates));
        assert_eq!(is.deadline, None, "nobody waits for it any more");
        assert_eq!((is.deferrable, is.queued, is.fallible), (Some(false), Some(false), false));
    }

    #[test]
    fn jobs_keep_their_order_by_service_operation_and_argument() {
        let key = |service: &str, order_by, id: Value| {
            let mut request = Request::new(service, "update", Profile::GENERAL);
            request.arguments.insert("id".into(), id);
            job(&request, occasion(order_by), &QueueConfig::default()).order_key
        };
        let secret = key("crm", Some("id"), json!("ada@example.com")).unwrap();
        assert!(secret.starts_with("crm.update:") && !secret.contains("ada"), "it outlives the arguments: {secret}");
        assert_eq!(key("crm", Some("id"), json!(7)), key("crm", Some("id"), json!(7)));
        assert_ne!(key("crm", Some("id"), json!(7)), key("crm", Some("id"), json!("7")));
        assert_ne!(key("crm", Some("id"), json!(7)), key("billing", Some("id"), json!(7)));
        assert_eq!(key("crm", Some("name"), json!(7)), None);
        assert_eq!(key("crm", None, json!(7)), None);
    }
}
