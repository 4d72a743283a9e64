//! A watch against an API server that plays a script: what it says, what it asks, and how soon it asks again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use ironlb_config::kinds::Namespace;
use ironlb_watch::{Change, Metrics, Selection, follow};
use kube::client::Body;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// The API server's part: an answer for each request in turn; none once it has run out of them.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<(Instant, String)>>>,
}

struct Answer {
    status: u16,
    lines: Vec<Value>,
}

impl Script {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        let script = Self::default();
        script.answers.lock().unwrap().extend(answers);
        script
    }

    /// Follows namespaces as this server tells of them.
    fn follow(&self, may_be_absent: bool) -> mpsc::Receiver<String> {
        let (listener, changes) = mpsc::channel(100);
        let script = self.clone();
        let client = Client::new(
            tower::service_fn(move |request| script.clone().answer(request)),
            "default",
        );
        let selection = Selection {
            kind: "Namespace",
            may_be_absent,
            ..Selection::default()
        };
        tokio::spawn(follow(
            Api::<Namespace>::all(client),
            selection,
            Metrics::default(),
            listener,
            said,
        ));
        changes
    }

    async fn answer(self, request: Request<Body>) -> Result<Response<Body>, Infallible> {
        let query = request.uri().query().unwrap_or_default().to_owned();
        self.asked.lock().unwrap().push((Instant::now(), query));
        let answer = self.answers.lock().unwrap().pop_front();
        let Some(answer) = answer else {
            return std::future::pending().await;
        };
        let lines: Vec<String> = answer.lines.iter().map(Value::to_string).collect();
        let response = Response::builder().status(answer.status);
        Ok(response
            .body(Body::from(lines.join("\n").into_bytes()))
            .unwrap())
    }

    fn queries(&self) -> Vec<String> {
        self.asked
            .lock()
            .unwrap()
            .iter()
            .map(|(_, query)| query.clone())
            .collect()
    }
}

fn said(change: Change<Namespace>) -> Option<String> {
    Some(match change {
        Change::Applied(namespace) => format!("+{}", namespace.metadata.name.unwrap()),
        Change::Deleted(name) => format!("-{name}"),
        Change::Read => "read".to_owned(),
    })
}

/// A watch's answer: `+name` and `-name` are changes, `=version` the end of a streaming list, `.version` a bookmark.
fn events(words: &[&str]) -> Answer {
    let mut version = 100;
    let lines = words.iter().map(|word| {
        version += 1;
        let (sign, name) = word.split_at(1);
        let object = json!({"metadata": {"name": name, "resourceVersion": version.to_string()}});
        let end = json!({"k8s.io/initial-events-end": "true"});
        match sign {
            "+" => json!({"type": "ADDED", "object": object}),
            "-" => json!({"type": "DELETED", "object": object}),
            "=" => bookmark(name, end),
            _ => bookmark(name, json!({})),
        }
    });
    Answer {
        status: 200,
        lines: lines.collect(),
    }
}

fn bookmark(version: &str, annotations: Value) -> Value {
    let metadata = json!({"resourceVersion": version, "annotations": annotations});
    json!({"type": "BOOKMARK", "object": {"kind": "Namespace", "apiVersion": "v1", "metadata": metadata}})
}

fn refusal(code: u16) -> Answer {
    Answer {
        status: code,
        lines: vec![
            json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
            "message": "refused by the script", "reason": "Test", "metadata": {}}),
        ],
    }
}

fn page(names: &[&str], next: Option<&str>) -> Answer {
    let items: Vec<Value> = names
        .iter()
        .map(|name| json!({"metadata": {"name": name}}))
        .collect();
    let metadata = json!({"resourceVersion": "50", "continue": next});
    Answer {
        status: 200,
        lines: vec![
            json!({"kind": "NamespaceList", "apiVersion": "v1", "metadata": metadata, "items": items}),
        ],
    }
}

async fn expect(changes: &mut mpsc::Receiver<String>, wanted: &[&str]) {
    for wanted in wanted {
        let change = timeout(Duration::from_secs(60), changes.recv()).await;
        assert_eq!(change.expect("a change in time").as_deref(), Some(*wanted));
    }
}

#[tokio::test(start_paused = true)]
async fn a_streaming_list_is_read_at_the_latest_version_and_then_followed() {
    let script = Script::new([
        events(&["+a", "+b", "=40", "-a", "+c", ".90"]),
        events(&["+d"]),
    ]);
    let mut changes = script.follow(false);
    expect(&mut changes, &["+a", "+b", "read", "-a", "+c", "+d"]).await;
    let queries = script.queries();
    assert!(
        queries[0].contains("sendInitialEvents=true"),
        "{}",
        queries[0]
    );
    assert!(queries[0].ends_with("resourceVersion="), "{}", queries[0]);
    assert!(!queries[1].contains("sendInitialEvents"), "{}", queries[1]);
    assert!(queries[1].ends_with("resourceVersion=90"), "{}", queries[1]);
}

#[tokio::test(start_paused = true)]
async fn what_vanished_unseen_is_said_to_be_deleted_after_the_next_list() {
    let script = Script::new([
        events(&["+a", "+b", "=40"]),
        refusal(410),
        events(&["+b", "+c", "=80", "+d"]),
    ]);
    let mut changes = script.follow(false);
    expect(&mut changes, &["+a", "+b", "read", "+b", "+c", "-a", "+d"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_expired_version_inside_the_stream_means_the_same() {
    let expired = json!({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "old"}});
    let mut first = events(&["+a", "=40"]);
    first.lines.push(expired);
    let script = Script::new([first, events(&["=80"])]);
    let mut changes = script.follow(false);
    expect(&mut changes, &["+a", "read", "-a"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_list_that_breaks_off_deletes_nothing() {
    let script = Script::new([
        events(&["+a", "+b", "=40"]),
        refusal(410),
        events(&["+b"]),
        events(&["+a", "+b", "=60", "+c"]),
    ]);
    let mut changes = script.follow(false);
    expect(&mut changes, &["+a", "+b", "read", "+b", "+a", "+b", "+c"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_without_streaming_lists_is_read_by_pages() {
    for code in [400, 422, 500] {
        a_server_that_answers_streaming_lists_by(code).await;
    }
}

async fn a_server_that_answers_streaming_lists_by(code: u16) {
    let script = Script::new([
        refusal(code),
        page(&["a", "b"], Some("more")),
        page(&["c"], None),
        events(&["-b"]),
    ]);
    let mut changes = script.follow(false);
    expect(&mut changes, &["+a", "+b", "+c", "read", "-b"]).await;
    let queries = script.queries();
    assert!(queries[2].contains("continue=more"), "{}", queries[2]);
    assert!(queries[3].ends_with("resourceVersion=50"), "{}", queries[3]);
}

#[tokio::test(start_paused = true)]
async fn a_streaming_list_that_never_ends_is_given_up_for_pages() {
    let script = Script::new([events(&["+a"])]);
    let mut changes = script.follow(false);
    expect(&mut changes, &["+a"]).await;
    // The next request is never answered; after it come pages.
    while script.queries().len() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    script.answers.lock().unwrap().push_back(page(&["a"], None));
    expect(&mut changes, &["+a", "read"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_not_installed_counts_as_read_and_is_found_later() {
    let script = Script::new([refusal(404), refusal(404), events(&["+a", "=40"])]);
    let mut changes = script.follow(true);
    expect(&mut changes, &["read", "+a"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_must_be_there_is_never_read_while_it_is_refused() {
    for code in [403, 404, 502] {
        let script = Script::new((0..50).map(|_| refusal(code)));
        let mut changes = script.follow(false);
        let change = timeout(Duration::from_secs(60), changes.recv()).await;
        assert!(change.is_err(), "{code}: {change:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_is_not_asked_in_a_loop() {
    for answer in [
        || refusal(502),
        || refusal(500),
        || refusal(429),
        || refusal(410),
        || events(&[]),
        || events(&["=40"]),
    ] {
        let script = Script::new((0..1_000).map(|_| answer()));
        let _changes = script.follow(false);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let asked = script.queries().len();
        assert!((10..40).contains(&asked), "{asked} requests in a minute");
    }
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_refused_again_and_again_is_given_up() {
    let answers = [events(&["+a", "=40"])]
        .into_iter()
        .chain((0..5).map(|_| refusal(504)));
    let script = Script::new(answers.chain([events(&["+b", "=80"])]));
    let mut changes = script.follow(false);
    expect(&mut changes, &["+a", "read", "+b", "-a"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_falls_silent_is_opened_again() {
    let script = Script::new([events(&["+a", "=40"])]);
    let mut changes = script.follow(false);
    expect(&mut changes, &["+a", "read"]).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    let queries = script.queries();
    assert!(
        (3..15).contains(&queries.len()),
        "{} requests",
        queries.len()
    );
    assert!(
        queries[1..]
            .iter()
            .all(|query| query.ends_with("resourceVersion=40"))
    );
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_nobody_listens() {
    let script = Script::new((0..1_000).map(|_| refusal(500)));
    drop(script.follow(false));
    tokio::time::sleep(Duration::from_secs(5)).await;
    let asked = script.queries().len();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(script.queries().len(), asked);
}
