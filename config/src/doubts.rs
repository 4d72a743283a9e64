//! What is not wrong, and probably not what was meant: MetalLB takes it without a word.

use std::collections::BTreeSet;

use crate::error::Error;
use crate::lower::with_host_bits;
use crate::objects::{Draft, Objects, Spec};
use crate::path::Step;
use crate::place::{At, Report};
use crate::suggest::did_you_mean;
use crate::tree::{Fault, Node, Style, Value};

/// The doubts about configuration objects.
pub(crate) fn of_objects(objects: &Objects) -> Vec<Error> {
    let drafts = || objects.entries().flat_map(|entry| &entry.drafts);
    let names_of = |is_wanted: fn(&Spec) -> bool| {
        let wanted = drafts().filter(move |draft| is_wanted(&draft.spec));
        wanted.map(|draft| &*draft.name).collect::<BTreeSet<&str>>()
    };
    let pools = names_of(|spec| matches!(spec, Spec::Pool(_)));
    let peers = names_of(|spec| matches!(spec, Spec::Peer(_)));
    let mut doubts = Vec::new();
    for draft in drafts() {
        let mut report = Report::new(&draft.place);
        of_draft(draft, &pools, &peers, &mut report);
        doubts.append(&mut report.into_errors());
    }
    doubts
}

fn of_draft(
    draft: &Draft,
    pools: &BTreeSet<&str>,
    peers: &BTreeSet<&str>,
    report: &mut Report<'_>,
) {
    let spec = At::ROOT.key("spec");
    let pools_named = |names: &[String], report: &mut Report<'_>| {
        absent(
            names,
            pools,
            "IPAddressPool",
            &spec.key("ipAddressPools"),
            report,
        );
    };
    match &draft.spec {
        Spec::Pool(pool) => {
            let at = spec.key("addresses");
            for (index, entry) in pool.addresses.iter().enumerate() {
                if let Some(net) = with_host_bits(entry) {
                    let message =
                        format!("\"{entry}\" is the whole of {net}, from {} on", net.addr());
                    report.add(&at.index(index), message);
                }
            }
        }
        Spec::L2(advertisement) => pools_named(&advertisement.ip_address_pools, report),
        Spec::Bgp(advertisement) => {
            pools_named(&advertisement.ip_address_pools, report);
            absent(
                &advertisement.peers,
                peers,
                "BGPPeer",
                &spec.key("peers"),
                report,
            );
        }
        Spec::Peer(_) | Spec::Bfd(_) | Spec::Community(_) => {}
    }
}

/// Names of objects that are not there. Where there are none at all, they are in files that were not given.
fn absent(
    names: &[String],
    known: &BTreeSet<&str>,
    kind: &str,
    at: &At<'_>,
    report: &mut Report<'_>,
) {
    if known.is_empty() {
        return;
    }
    for (index, name) in names.iter().enumerate() {
        if known.contains(&**name) {
            continue;
        }
        let hint = match did_you_mean(name, known.iter().copied()) {
            Some(meant) => format!("; did you mean \"{meant}\"?"),
            None => String::new(),
        };
        let message = format!("there is no {kind} \"{name}\"{hint}");
        report.add(&at.index(index), message);
    }
}

/// Annotations of a Service that look like ours and are none, and a type that there is not.
pub(crate) fn of_service(root: &Node) -> Vec<Fault> {
    let path = |name: &str| {
        ["metadata", "annotations", name].map(|step| Step::Key(step.to_owned().into()))
    };
    let annotations = root.get("metadata").and_then(|all| all.get("annotations"));
    let entries = match annotations.map(|all| &all.value) {
        Some(Value::Mapping(entries)) => &entries[..],
        _ => &[],
    };
    let annotations = entries.iter().filter_map(|(key, _)| {
        let name = key.key()?;
        let (prefix, word) = name.split_once('/')?;
        let is_ours = PREFIXES.contains(&prefix) && ANNOTATIONS.contains(&word);
        let is_like_ours = PREFIXES.contains(&prefix) || did_you_mean(prefix, PREFIXES).is_some();
        if is_ours || !is_like_ours {
            return None;
        }
        let meant = match did_you_mean(word, ANNOTATIONS) {
            Some(meant) => format!("did you mean \"metallb.io/{meant}\"?"),
            None => format!("there are {}", ANNOTATIONS.join(", ")),
        };
        let message = format!("\"{name}\" is no annotation that means anything; {meant}");
        Some(Fault::new(
            key.mark,
            crate::path::join(&path(name)),
            message,
        ))
    });
    annotations.chain(type_of_service(root)).collect()
}

/// A type that Kubernetes does not know: nobody would balance it.
fn type_of_service(root: &Node) -> Option<Fault> {
    let word = root.get("spec")?.text("type")?;
    if TYPES.contains(&word) {
        return None;
    }
    let meant = match did_you_mean(word, TYPES) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => format!("there are {}", TYPES.join(", ")),
    };
    let path = ["spec", "type"].map(|step| Step::Key(step.into()));
    let message = format!("\"{word}\" is no type of a Service; {meant}");
    Some(Fault::new(
        root.locate(&path),
        "spec.type".to_owned(),
        message,
    ))
}

/// A ConfigMap with the legacy format where nobody looks for it.
pub(crate) fn of_config_map(root: &Node, name: &str) -> Option<Fault> {
    let Value::Mapping(entries) = &root.get("data")?.value else {
        return None;
    };
    entries.iter().find_map(|(key, value)| {
        let Value::Scalar { text, style } = &value.value else {
            return None;
        };
        let looks_legacy = *style == Style::Literal
            && text.lines().any(|line| line.trim_end() == "address-pools:");
        let word = key.key().filter(|_| looks_legacy)?;
        let message = format!(
            "looks like the legacy format, which is read from the key \"config\" of the ConfigMap \"config\" alone, \
             not from \"{word}\" of \"{name}\""
        );
        Some(Fault::new(key.mark, format!("data.{word}"), message))
    })
}

const TYPES: [&str; 4] = ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"];
const PREFIXES: [&str; 2] = ["metallb.io", "metallb.universe.tf"];
const ANNOTATIONS: [&str; 4] = [
    "address-pool",
    "loadBalancerIPs",
    "allow-shared-ip",
    "ip-allocated-from-pool",
];
