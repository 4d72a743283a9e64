//! What operators are told of each Service: status and events on change, and trouble once it has lasted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ironlb_model::{Event, EventKind, Name, ServiceKey, Time};

use crate::io::{BgpStatus, Layer2Status, Output};

/// What was told, and what is about to be.
#[derive(Debug)]
pub(crate) struct Reports {
    node: Name,
    told: BTreeMap<ServiceKey, Standing>,
    /// When trouble that lasts is told.
    due: BTreeSet<(Time, ServiceKey)>,
}

/// How a Service stands on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Where it is announced, as in [`Layer2Status`].
    pub(crate) interfaces: Option<BTreeSet<String>>,
    /// The BGP peers that are told of it.
    pub(crate) peers: BTreeSet<Name>,
    /// What keeps it from being announced as it should be, while this node is the one that should.
    pub(crate) trouble: Option<Trouble>,
}

/// Something that the operator must see to, if it lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// The reason of the Event.
    pub(crate) reason: &'static str,
    /// Its message.
    pub(crate) message: String,
}

#[derive(Debug, Default)]
struct Standing {
    report: Report,
    /// When the trouble is told; `None` when there is none, or it has been.
    due: Option<Time>,
}

impl Reports {
    pub(crate) const fn new(node: Name) -> Self {
        Self {
            node,
            told: BTreeMap::new(),
            due: BTreeSet::new(),
        }
    }

    /// How a Service stands now. Gives what to tell at once.
    pub(crate) fn update(&mut self, now: Time, key: &ServiceKey, report: Report) -> Vec<Output> {
        let mut standing = self.told.remove(key).unwrap_or_default();
        let mut outputs = Vec::new();
        if standing.report.interfaces != report.interfaces {
            if standing.report.interfaces.is_none() {
                outputs.push(Output::Event(self.assigned(key, "layer2")));
            }
            outputs.push(Output::Layer2(Layer2Status {
                service: key.clone(),
                interfaces: report.interfaces.clone(),
            }));
        }
        if standing.report.peers != report.peers {
            if standing.report.peers.is_empty() {
                outputs.push(Output::Event(self.assigned(key, "bgp")));
            }
            outputs.push(Output::Bgp(BgpStatus {
                service: key.clone(),
                peers: report.peers.clone(),
            }));
        }
        if standing.report.trouble != report.trouble {
            if let Some(due) = standing.due.take() {
                self.due.remove(&(due, key.clone()));
            }
            if report.trouble.is_some() {
                let due = now + PATIENCE;
                self.due.insert((due, key.clone()));
                standing.due = Some(due);
            }
        }
        if report != Report::default() {
            standing.report = report;
            self.told.insert(key.clone(), standing);
        }
        outputs
    }

    /// Whether something keeps a Service from being announced as it should be.
    pub(crate) fn in_trouble(&self, key: &ServiceKey) -> bool {
        let standing = self.told.get(key);
        standing.is_some_and(|standing| standing.report.trouble.is_some())
    }

    /// The Services that BGP peers are told of.
    pub(crate) fn routed(&self) -> impl Iterator<Item = &ServiceKey> {
        let told = self.told.iter();
        told.filter(|(_, standing)| !standing.report.peers.is_empty())
            .map(|(key, _)| key)
    }

    /// The next trouble that has lasted; call again until `None`.
    pub(crate) fn tick(&mut self, now: Time) -> Option<Output> {
        let (due, _) = self.due.first()?;
        if *due > now {
            return None;
        }
        let (_, service) = self.due.pop_first()?;
        let standing = self.told.get_mut(&service)?;
        standing.due = None;
        let Trouble { reason, message } = standing.report.trouble.clone()?;
        Some(Output::Event(Event {
            service,
            kind: EventKind::Warning,
            reason,
            message,
        }))
    }

    /// When [`tick`](Self::tick) has something.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.due.first().map(|(due, _)| *due)
    }

    fn assigned(&self, key: &ServiceKey, protocol: &str) -> Event {
        Event {
            service: key.clone(),
            kind: EventKind::Normal,
            reason: "nodeAssigned",
            message: format!(
                "announcing from node {:?} with protocol {protocol:?}",
                self.node
            ),
        }
    }
}

/// How long trouble lasts before it is told: links flap, and configuration arrives in pieces.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::key;

    fn trouble() -> Report {
        Report {
            interfaces: None,
            peers: BTreeSet::new(),
            trouble: Some(Trouble {
                reason: "announceFailed",
                message: "no interface".to_owned(),
            }),
        }
    }

    fn announced() -> Report {
        Report {
            interfaces: Some(BTreeSet::new()),
            peers: BTreeSet::new(),
            trouble: None,
        }
    }

    #[test]
    fn an_assignment_is_told_on_change_only() {
        let mut reports = Reports::new("n1".into());
        let told = reports.update(Time::ZERO, &key("web"), announced());
        assert!(
            matches!(&told[..], [Output::Event(event), Output::Layer2(_)]
            if event.message == "announcing from node \"n1\" with protocol \"layer2\"")
        );
        assert_eq!(reports.update(Time::ZERO, &key("web"), announced()), []);
        let gone = reports.update(Time::ZERO, &key("web"), Report::default());
        assert!(matches!(&gone[..], [Output::Layer2(status)] if status.interfaces.is_none()));
        assert!(reports.told.is_empty());
    }

    #[test]
    fn trouble_is_told_once_when_it_lasts() {
        let mut reports = Reports::new("n1".into());
        reports.update(Time::ZERO, &key("web"), trouble());
        assert_eq!(
            reports.tick(Time::ZERO + PATIENCE - Duration::from_nanos(1)),
            None
        );
        assert_eq!(reports.deadline(), Some(Time::ZERO + PATIENCE));
        reports.update(Time::from_secs(1), &key("web"), trouble());
        let told = reports.tick(Time::ZERO + PATIENCE);
        assert!(matches!(told, Some(Output::Event(event)) if event.reason == "announceFailed"));
        assert_eq!(
            (reports.tick(Time::from_secs(900)), reports.deadline()),
            (None, None)
        );
    }

    #[test]
    fn trouble_that_passes_is_not_told() {
        let mut reports = Reports::new("n1".into());
        reports.update(Time::ZERO, &key("web"), trouble());
        reports.update(Time::from_secs(1), &key("web"), announced());
        assert_eq!(
            (reports.tick(Time::from_secs(900)), reports.deadline()),
            (None, None)
        );
    }
}
