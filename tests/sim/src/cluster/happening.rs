//! Everything that can be scheduled, and who is told of it when its time has come.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;

use ironlb_controller_core::io::WriteOutcome;
use ironlb_controller_core::lease;
use ironlb_model::{Link, ServiceKey, Time};

use super::controllers::Sent;
use super::{Cluster, Process, bgp, faults};
use crate::api::Kind;
use crate::lan::Port;

/// What can be scheduled.
#[derive(Debug)]
pub(super) enum Happening {
    Start {
        process: Process,
    },
    Wake {
        process: Process,
        life: u64,
        at: Time,
    },
    Connect {
        process: Process,
        kind: Kind,
        connection: u64,
    },
    ListArrives {
        process: Process,
        kind: Kind,
        connection: u64,
        revision: u64,
    },
    ChangeArrives {
        process: Process,
        kind: Kind,
        connection: u64,
        revision: u64,
    },
    WriteArrives {
        controller: usize,
        life: u64,
        write: Rc<Sent>,
        /// Whether the controller has been told already that it failed.
        told: bool,
    },
    Written {
        controller: usize,
        life: u64,
        service: ServiceKey,
        outcome: WriteOutcome,
    },
    LinkNews {
        machine: usize,
        life: u64,
        index: u32,
        link: Option<Box<Link>>,
    },
    Frame {
        to: Port,
        frame: Rc<[u8]>,
    },
    TakenOver {
        machine: usize,
        life: u64,
        since: Time,
        ip: IpAddr,
        links: BTreeSet<u32>,
    },
    ClientWakes {
        client: usize,
    },
    ClientSends {
        client: usize,
    },
    CandidateWakes {
        controller: usize,
        process: u64,
        at: Time,
    },
    LeaseArrives {
        controller: usize,
        process: u64,
        request: u64,
        write: Option<lease::LeaseWrite>,
    },
    LeaseAnswered {
        controller: usize,
        process: u64,
        request: u64,
        answer: Box<lease::Input>,
    },
    Retires {
        controller: usize,
        process: u64,
        until: Time,
    },
    Ends {
        controller: usize,
        process: u64,
    },
    Crash(Process),
    UserActs,
    FaultStrikes,
    FaultEnds(faults::Fault),
    Bgp(bgp::Event),
}

impl Cluster {
    pub(super) fn happen(&mut self, happening: Happening) {
        let frozen = happening
            .controller()
            .and_then(|index| self.frozen.get_mut(&index));
        if let Some(held) = frozen {
            return held.push(happening);
        }
        match happening {
            Happening::Start { process } => self.start(process),
            Happening::Wake { process, life, at } => self.wake(process, life, at),
            Happening::Connect {
                process,
                kind,
                connection,
            } => self.connect(process, kind, connection),
            Happening::ListArrives {
                process,
                kind,
                connection,
                revision,
            } => {
                self.list_arrives(process, kind, connection, revision);
            }
            Happening::ChangeArrives {
                process,
                kind,
                connection,
                revision,
            } => {
                self.change_arrives(process, kind, connection, revision);
            }
            Happening::WriteArrives {
                controller,
                life,
                write,
                told,
            } => {
                self.write_arrives(controller, life, &write, told);
            }
            Happening::Written {
                controller,
                life,
                service,
                outcome,
            } => {
                self.written(controller, life, service, outcome);
            }
            Happening::LinkNews {
                machine,
                life,
                index,
                link,
            } => {
                self.link_news(machine, life, index, link.as_deref());
            }
            Happening::Frame { to, frame } => self.frame_arrives(to, &frame),
            Happening::TakenOver {
                machine,
                life,
                since,
                ip,
                links,
            } => self.check_takeover(machine, life, since, ip, &links),
            Happening::ClientWakes { client } => self.client_wakes(client),
            Happening::ClientSends { client } => self.client_sends(client),
            Happening::CandidateWakes {
                controller,
                process,
                at,
            } => self.candidate_wakes(controller, process, at),
            Happening::LeaseArrives {
                controller,
                process,
                request,
                write,
            } => {
                self.lease_arrives(controller, process, request, write.as_ref());
            }
            Happening::LeaseAnswered {
                controller,
                process,
                request,
                answer,
            } => {
                self.lease_answered(controller, process, request, *answer);
            }
            Happening::Retires {
                controller,
                process,
                until,
            } => self.retires(controller, process, until),
            Happening::Ends {
                controller,
                process,
            } => self.ends(controller, process),
            Happening::Crash(process) => self.crash(process),
            Happening::UserActs => self.user_acts(),
            Happening::FaultStrikes => self.fault_strikes(),
            Happening::FaultEnds(fault) => self.end_fault(fault),
            Happening::Bgp(event) => self.bgp_happens(event),
        }
    }
}
