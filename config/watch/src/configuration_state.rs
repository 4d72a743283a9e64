//! Says in the API whether this component could use the configuration: a ConfigurationState, and Events.

use std::time::Duration;

use ironlb_config::Error;
use ironlb_model::EventKind;
use jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::event::Subject;
use crate::{Backoff, Recorder};

/// Who says so.
#[derive(Clone, Debug)]
pub enum Component {
    /// The controller, which also tells of errors by Events on the objects.
    Controller(Recorder),
    /// The speaker of this node.
    Speaker(String),
}

impl Component {
    fn name(&self) -> String {
        match self {
            Self::Controller(_) => "controller".to_owned(),
            Self::Speaker(node) => format!("speaker-{node}"),
        }
    }

    fn labels(&self) -> Value {
        match self {
            Self::Controller(_) => json!({ "metallb.io/component-type": "controller" }),
            Self::Speaker(node) => {
                json!({ "metallb.io/component-type": "speaker", "metallb.io/node-name": node })
            }
        }
    }

    const fn condition(&self) -> &'static str {
        match self {
            Self::Controller(_) => "poolReconcilerValid",
            Self::Speaker(_) => "configReconcilerValid",
        }
    }
}

/// Writes what `errors` says, whenever it changes, until it is closed.
pub(crate) async fn keep(
    client: Client,
    namespace: String,
    component: Component,
    mut errors: watch::Receiver<Option<Vec<Error>>>,
) {
    let state = State::new(client, &namespace, component);
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
    let mut told = Vec::new();
    let mut wait = FOREVER;
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
            Ok(Ok(())) => {
                backoff.succeeded();
                FOREVER
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
}

impl State {
    fn new(client: Client, namespace: &str, component: Component) -> Self {
        let version = GroupVersionKind::gvk("metallb.io", "v1beta1", "ConfigurationState");
        let kind = ApiResource::from_gvk_with_plural(&version, "configurationstates");
        Self {
            api: Api::namespaced_with(client, namespace, &kind),
            kind,
            component,
        }
    }

    /// An Event on every object in error.
    fn tell<'a>(&self, namespace: &str, errors: impl Iterator<Item = &'a Error>) {
        let Component::Controller(recorder) = &self.component else {
            return;
        };
        for error in errors {
            let Some((kind, name)) = error.object.split_once('/') else {
                continue;
            };
            let subject = Subject::of_configuration(kind, namespace, name);
            let message = match error.field.as_str() {
                "" => error.message.clone(),
                field => format!("{field}: {}", error.message),
            };
            recorder.record_about(subject, EventKind::Warning, "ConfigurationError", message);
        }
    }

    /// Writes the state where it is not so already.
    async fn write(&self, errors: &[Error]) -> kube::Result<()> {
        let name = self.component.name();
        let wanted = status(self.component.condition(), errors);
        let found = match self.api.get_opt(&name).await? {
            Some(found) => found,
            None => match self.create(&name).await? {
                Some(created) => created,
                None => return Ok(()),
            },
        };
        let same = |field| found.data.pointer(field) == wanted.pointer(field);
        if same("/status/result") && same("/status/errorSummary") {
            return Ok(());
        }
        let patch = Patch::Merge(wanted);
        self.api
            .patch_status(&name, &PatchParams::default(), &patch)
            .await
            .map(drop)
    }

    /// The new object; `None` where the cluster does not have the kind.
    async fn create(&self, name: &str) -> kube::Result<Option<DynamicObject>> {
        let mut object = DynamicObject::new(name, &self.kind);
        object.metadata.labels = serde_json::from_value(self.component.labels()).ok();
        match self.api.create(&PostParams::default(), &object).await {
            Ok(created) => Ok(Some(created)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn status(condition: &str, errors: &[Error]) -> Value {
    let valid = errors.is_empty();
    let summary = summary(errors);
    json!({
        "status": {
            "result": if valid { "Valid" } else { "Invalid" },
            "errorSummary": summary,
            "conditions": [{
                "type": condition,
                "status": if valid { "True" } else { "False" },
                "reason": if valid { "Reconciled" } else { "ConfigurationError" },
                "message": summary,
                "lastTransitionTime": Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            }],
        },
    })
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
const FOREVER: Duration = Duration::from_secs(86_400);
/// A condition's message may have 32,768 characters.
const LONGEST: usize = 30_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_configuration_has_an_empty_summary() {
        let status = status("poolReconcilerValid", &[]);
        assert_eq!(status["status"]["result"], "Valid");
        assert_eq!(status["status"]["errorSummary"], "");
        assert_eq!(status["status"]["conditions"][0]["status"], "True");
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
