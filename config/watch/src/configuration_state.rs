//! Says in the API whether this component could use the configuration: a ConfigurationState, and Events.

use std::sync::Arc;
use std::time::Duration;

use ironlb_config::Error;
use ironlb_model::{EventKind, Name};
use jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::event::Subject;
use crate::{Backoff, Recorder, Uids, jittered};

/// Who says so.
#[derive(Clone, Debug)]
pub enum Component {
    /// The controller, which also tells of errors by Events on the objects.
    Controller(Recorder),
    /// The speaker of this node, as whose property the garbage collector then knows what it says.
    Speaker(Name, Uids<Name>),
}

impl Component {
    fn name(&self) -> String {
        match self {
            Self::Controller(_) => "controller".to_owned(),
            Self::Speaker(node, _) => format!("speaker-{node}"),
        }
    }

    fn labels(&self) -> Value {
        match self {
            Self::Controller(_) => json!({ "metallb.io/component-type": "controller" }),
            Self::Speaker(node, _) => {
                json!({ "metallb.io/component-type": "speaker", "metallb.io/node-name": &**node })
            }
        }
    }

    const fn condition(&self) -> &'static str {
        match self {
            Self::Controller(_) => "poolReconcilerValid",
            Self::Speaker(..) => "configReconcilerValid",
        }
    }

    /// Whose the state is.
    fn owner(&self) -> Owner {
        match self {
            Self::Controller(_) => Owner::Nobody,
            Self::Speaker(node, uids) => match uids.of(node) {
                Some(uid) => Owner::Node(json!([owner(node, &uid)])),
                None => Owner::Unknown,
            },
        }
    }
}

/// Whose a state is: it goes when its owner does.
#[derive(Clone, Debug, PartialEq)]
enum Owner {
    Nobody,
    /// A node; these are the `ownerReferences`.
    Node(Value),
    /// A node that is not known yet.
    Unknown,
}

/// A node as the owner of an object that is gone when it is: the garbage collector sees to that.
pub fn owner(node: &Name, uid: &Arc<str>) -> Value {
    json!({ "apiVersion": "v1", "kind": "Node", "name": &**node, "uid": &**uid })
}

/// Writes what `errors` says, whenever it changes, until it is closed. `uids` are those of the configuration's objects.
pub(crate) async fn keep(
    client: Client,
    namespace: String,
    component: Component,
    uids: Uids<String>,
    mut errors: watch::Receiver<Option<Vec<Error>>>,
) {
    let state = State::new(client, &namespace, component, uids);
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
    let mut told = Vec::new();
    let mut wait = LOOK_AGAIN;
    loop {
        if let Ok(Err(_)) = timeout(wait, errors.changed()).await {
            return;
        }
        let Some(now) = errors.borrow_and_update().clone() else {
            continue;
        };
        state.tell(
            &namespace,
            now.iter().filter(|error| !told.contains(*error)),
        );
        let written = timeout(TIMEOUT, state.write(&now)).await;
        told = now;
        wait = match written {
            Ok(Ok(Owner::Unknown)) => backoff.failed(),
            Ok(Ok(_)) => {
                backoff.succeeded();
                jittered(LOOK_AGAIN)
            }
            failure => {
                tracing::debug!(?failure, "ConfigurationState not written");
                backoff.failed()
            }
        };
    }
}

struct State {
    api: Api<DynamicObject>,
    kind: ApiResource,
    component: Component,
    uids: Uids<String>,
}

impl State {
    fn new(client: Client, namespace: &str, component: Component, uids: Uids<String>) -> Self {
        let version = GroupVersionKind::gvk("metallb.io", "v1beta1", "ConfigurationState");
        let kind = ApiResource::from_gvk_with_plural(&version, "configurationstates");
        Self {
            api: Api::namespaced_with(client, namespace, &kind),
            kind,
            component,
            uids,
        }
    }

    /// An Event on every object in error.
    fn tell<'a>(&self, namespace: &str, errors: impl Iterator<Item = &'a Error>) {
        let Component::Controller(recorder) = &self.component else {
            return;
        };
        for error in errors {
            let object = error.object.to_string();
            let Some((kind, name)) = object.split_once('/') else {
                continue;
            };
            let subject = Subject::of_configuration(kind, namespace, name, self.uids.of(&object));
            let message = match &*error.field {
                "" => error.message.to_string(),
                field => format!("{field}: {}", error.message),
            };
            recorder.record_about(subject, EventKind::Warning, "ConfigurationError", message);
        }
    }

    /// Writes the state where it is not so already; gives whose it is now.
    async fn write(&self, errors: &[Error]) -> kube::Result<Owner> {
        let (name, owner) = (self.component.name(), self.component.owner());
        let found = match self.api.get_opt(&name).await? {
            Some(found) => found,
            None => match self.create(&name, &owner).await? {
                Some(created) => created,
                None => return Ok(Owner::Nobody),
            },
        };
        let parameters = PatchParams::default();
        if let Owner::Node(references) = &owner
            && !is_owned(&found, references)
        {
            let patch = Patch::Merge(json!({ "metadata": { "ownerReferences": references } }));
            self.api.patch(&name, &parameters, &patch).await?;
        }
        let now = Timestamp::now();
        let status = status(self.component.condition(), errors, &found.data, now);
        if found.data.get("status") != Some(&status) {
            let patch = Patch::Merge(json!({ "status": status }));
            self.api.patch_status(&name, &parameters, &patch).await?;
        }
        Ok(owner)
    }

    /// The new object; `None` where the cluster does not have the kind.
    async fn create(&self, name: &str, owner: &Owner) -> kube::Result<Option<DynamicObject>> {
        let mut object = DynamicObject::new(name, &self.kind);
        object.metadata.labels = serde_json::from_value(self.component.labels()).ok();
        if let Owner::Node(references) = owner {
            object.metadata.owner_references = serde_json::from_value(references.clone()).ok();
        }
        match self.api.create(&PostParams::default(), &object).await {
            Ok(created) => Ok(Some(created)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether an object has exactly these owners, by uid.
fn is_owned(object: &DynamicObject, owners: &Value) -> bool {
    let wanted = owners.as_array().into_iter().flatten();
    let found = object.metadata.owner_references.iter().flatten();
    wanted
        .map(|owner| owner.get("uid").and_then(Value::as_str))
        .eq(found.map(|owner| Some(owner.uid.as_str())))
}

/// The status for these errors, where `found` is the object as it is: a condition keeps the time of its last transition
/// until its status is another one.
fn status(condition: &str, errors: &[Error], found: &Value, now: Timestamp) -> Value {
    let valid = errors.is_empty();
    let (summary, holds) = (summary(errors), if valid { "True" } else { "False" });
    let conditions = found
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    let before = conditions.into_iter().flatten().find(|found| {
        text(found, "type") == Some(condition) && text(found, "status") == Some(holds)
    });
    let since = before.and_then(|found| text(found, "lastTransitionTime"));
    json!({
        "result": if valid { "Valid" } else { "Invalid" },
        "errorSummary": summary,
        "conditions": [{
            "type": condition,
            "status": holds,
            "reason": if valid { "Reconciled" } else { "ConfigurationError" },
            "message": summary,
            "lastTransitionTime": since.map_or_else(|| time(now), str::to_owned),
        }],
    })
}

fn text<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    object.get(field)?.as_str()
}

fn time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The errors, one on a line, as many as there is room for.
fn summary(errors: &[Error]) -> String {
    let mut text = String::new();
    for (number, error) in errors.iter().enumerate() {
        let line = error.to_string();
        if text.len() + line.len() > LONGEST {
            let more = errors.len() - number;
            text.push_str(&format!("and {more} more\n"));
            break;
        }
        text.push_str(&line);
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}

const TIMEOUT: Duration = Duration::from_secs(30);
/// How often to see whether the state is still so: somebody may have deleted it, or the node is another one now.
const LOOK_AGAIN: Duration = Duration::from_secs(1_800);
/// A condition's message may have 32,768 characters.
const LONGEST: usize = 30_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(errors: &[Error], found: &Value, second: i64) -> Value {
        let now = Timestamp::from_second(second).unwrap();
        json!({ "status": status("poolReconcilerValid", errors, found, now) })
    }

    #[test]
    fn a_valid_configuration_has_an_empty_summary() {
        let status = at(&[], &Value::Null, 0);
        assert_eq!(status["status"]["result"], "Valid");
        assert_eq!(status["status"]["errorSummary"], "");
        assert_eq!(status["status"]["conditions"][0]["status"], "True");
    }

    #[test]
    fn the_time_of_the_last_transition_changes_only_when_the_status_does() {
        let time = |state: &Value| state["status"]["conditions"][0]["lastTransitionTime"].clone();
        let error = |message: &str| [Error::of_source("kubernetes", message)];
        let valid = at(&[], &Value::Null, 100);
        assert_eq!(at(&[], &valid, 200), valid);
        let invalid = at(&error("one"), &valid, 300);
        assert_eq!(time(&invalid), "1970-01-01T00:05:00Z");
        let otherwise = at(&error("two"), &invalid, 400);
        assert_ne!(otherwise, invalid);
        assert_eq!(time(&otherwise), time(&invalid));
        assert_eq!(time(&at(&[], &otherwise, 500)), "1970-01-01T00:08:20Z");
    }

    #[test]
    fn the_condition_of_another_component_does_not_count() {
        let other = json!({ "status": { "conditions": [
            { "type": "configReconcilerValid", "status": "True", "lastTransitionTime": "1970-01-01T00:00:01Z" },
        ] } });
        let status = at(&[], &other, 60);
        assert_eq!(
            status["status"]["conditions"][0]["lastTransitionTime"],
            "1970-01-01T00:01:00Z"
        );
    }

    #[test]
    fn a_summary_that_would_be_too_long_says_how_much_is_left_out() {
        let errors: Vec<Error> = (0..1_000)
            .map(|number| Error::of_source(format!("pool-{number}"), "x".repeat(100)))
            .collect();
        let summary = summary(&errors);
        assert!(summary.len() < LONGEST + 100);
        assert!(
            summary.ends_with(" more"),
            "{}",
            &summary[summary.len() - 40..]
        );
    }
}
