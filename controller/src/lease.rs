//! Drives the election of a leader against the Lease in ironlb's namespace. The rules are the core's.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ironlb_controller_core::WriteOutcome;
use ironlb_controller_core::lease::{Election, Input, Lease, LeaseWrite, Output, Settings};
use ironlb_model::Time;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease as KubeLease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// Whether this controller leads, as far as is known now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lead {
    /// There is no election.
    Always,
    /// It leads until then, unless it renews the Lease before.
    Until(Instant),
    /// It does not lead.
    No,
}

impl Lead {
    /// Whether something may be begun now that only a leader does. A process that stood still for a while does not lead any
    /// more when it goes on, though nothing has told it so yet.
    pub(crate) fn holds(self) -> bool {
        match self {
            Self::Always => true,
            Self::Until(end) => Instant::now() < end,
            Self::No => false,
        }
    }
}

/// A candidate in the election.
pub(crate) struct Candidate {
    api: Api<KubeLease>,
    election: Election,
    origin: Instant,
    under_way: Option<Request>,
    /// `spec.acquireTime` of the Lease as it was last seen or written.
    acquired: Option<MicroTime>,
    leading: watch::Sender<Lead>,
}

type Request = Pin<Box<dyn Future<Output = (Input, Option<MicroTime>)> + Send>>;

impl Candidate {
    /// A candidate of this name, which says on `leading` whether it leads.
    pub(crate) fn new(
        client: Client,
        namespace: &str,
        identity: &str,
        leading: watch::Sender<Lead>,
    ) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            election: Election::new(Settings::new(identity, ironlb_watch::random())),
            origin: Instant::now(),
            under_way: None,
            acquired: None,
            leading,
        }
    }

    /// Runs for the lead, and keeps it while it can. Does not end.
    pub(crate) async fn run(&mut self) {
        self.handle(Input::Tick);
        loop {
            self.step().await;
        }
    }

    /// Gives the lead up, so that another need not wait for it to expire; tries so for a moment only. No write may be under
    /// way any more.
    pub(crate) async fn leave(&mut self) {
        self.leading.send_replace(Lead::No);
        self.under_way = None;
        self.handle(Input::Leave);
        let given_up = async {
            while self.under_way.is_some() {
                self.step().await;
            }
        };
        if timeout(LEAVING, given_up).await.is_err() {
            tracing::debug!("the Lease was not given up in time; it will expire");
        }
    }

    async fn step(&mut self) {
        let wake = self
            .election
            .deadline()
            .map(|time| self.origin + time.since(Time::ZERO));
        let wake = wake.unwrap_or_else(|| Instant::now() + IDLE);
        let input = tokio::select! {
            (input, acquired) = answer(&mut self.under_way) => {
                self.under_way = None;
                self.acquired = acquired.or_else(|| self.acquired.take());
                input
            }
            () = tokio::time::sleep_until(wake) => Input::Tick,
        };
        self.handle(input);
    }

    fn handle(&mut self, input: Input) {
        let now = Time::ZERO + self.origin.elapsed();
        self.election.handle(now, input);
        while let Some(output) = self.election.poll() {
            match output {
                Output::Read => self.under_way = Some(Box::pin(read(self.api.clone()))),
                Output::Write(write) => {
                    let acquired = if write.acquires {
                        None
                    } else {
                        self.acquired.clone()
                    };
                    self.under_way = Some(Box::pin(self::write(self.api.clone(), write, acquired)));
                }
                Output::Lead => tracing::info!("this controller leads"),
                Output::StopLeading => tracing::warn!("this controller does not lead any more"),
            }
        }
        self.tell();
    }

    fn tell(&self) {
        let until = self.election.leads_until();
        let lead = until.map_or(Lead::No, |until| {
            Lead::Until(self.origin + until.since(Time::ZERO))
        });
        self.leading.send_if_modified(|told| {
            let changed = *told != lead;
            *told = lead;
            changed
        });
    }
}

async fn answer(under_way: &mut Option<Request>) -> (Input, Option<MicroTime>) {
    match under_way {
        Some(request) => request.await,
        None => std::future::pending().await,
    }
}

async fn read(api: Api<KubeLease>) -> (Input, Option<MicroTime>) {
    match timeout(TIMEOUT, api.get_opt(LEASE)).await {
        Ok(Ok(found)) => {
            let acquired = found
                .as_ref()
                .and_then(|lease| lease.spec.as_ref()?.acquire_time.clone());
            (Input::Read(found.map(seen)), acquired)
        }
        failure => {
            tracing::debug!(?failure, "the Lease cannot be read");
            (Input::ReadFailed, None)
        }
    }
}

fn seen(lease: KubeLease) -> Lease {
    let spec = lease.spec.unwrap_or_default();
    let seconds =
        u64::try_from(spec.lease_duration_seconds.unwrap_or_default()).unwrap_or_default();
    Lease {
        holder: spec.holder_identity.unwrap_or_default().into(),
        duration: Duration::from_secs(seconds),
        renewed: spec
            .renew_time
            .map(|time| time.0.to_string())
            .unwrap_or_default()
            .into(),
        transitions: spec
            .lease_transitions
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or_default(),
        resource_version: lease.metadata.resource_version.unwrap_or_default().into(),
    }
}

async fn write(
    api: Api<KubeLease>,
    write: LeaseWrite,
    acquired: Option<MicroTime>,
) -> (Input, Option<MicroTime>) {
    let now = MicroTime(Timestamp::now());
    let acquired = acquired.unwrap_or_else(|| now.clone());
    let lease = lease(&write, acquired.clone(), now);
    let parameters = PostParams::default();
    let written = async {
        match write.resource_version {
            Some(_) => api.replace(LEASE, &parameters, &lease).await,
            None => api.create(&parameters, &lease).await,
        }
    };
    let outcome = match timeout(TIMEOUT, written).await {
        Ok(Ok(_)) => WriteOutcome::Done,
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => WriteOutcome::Conflict,
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => WriteOutcome::Gone,
        failure => {
            tracing::debug!(?failure, "the Lease cannot be written");
            WriteOutcome::Failed
        }
    };
    (Input::Written(outcome), Some(acquired))
}

fn lease(write: &LeaseWrite, acquired: MicroTime, now: MicroTime) -> KubeLease {
    KubeLease {
        metadata: ObjectMeta {
            name: Some(LEASE.to_owned()),
            resource_version: write.resource_version.as_deref().map(str::to_owned),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(write.holder.to_string()),
            // A Lease of less than a second is none; one that is given up is that short.
            lease_duration_seconds: Some(
                i32::try_from(write.duration.as_secs().max(1)).unwrap_or(i32::MAX),
            ),
            acquire_time: Some(acquired),
            renew_time: Some(now),
            lease_transitions: Some(i32::try_from(write.transitions).unwrap_or(i32::MAX)),
            ..LeaseSpec::default()
        }),
    }
}

/// Who this process is: the pod, of which Kubernetes runs one container at a time, or where this is no pod, the process.
pub(crate) fn identity() -> Arc<str> {
    let named = ["IRONLB_POD_NAME", "METALLB_POD_NAME"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok());
    let pod = named.into_iter().find(|name| !name.is_empty());
    pod.unwrap_or_else(|| {
        format!(
            "process-{}-{}",
            std::process::id(),
            Timestamp::now().as_nanosecond()
        )
    })
    .into()
}

const LEASE: &str = "ironlb-controller";
/// Of the ten seconds in which a leader must renew.
const TIMEOUT: Duration = Duration::from_secs(4);
const LEAVING: Duration = Duration::from_secs(2);
const IDLE: Duration = Duration::from_secs(60);
