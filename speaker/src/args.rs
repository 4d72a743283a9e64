//! The options of every speaker, in a cluster or without one.

use std::env;

use anyhow::Context;
use ironlb_speaker_core::{DEFAULT_EXCLUDED_INTERFACES, Settings};
use regex::Regex;

/// Which node a speaker announces for, and what it announces there.
#[derive(Clone, Debug, clap::Args)]
pub struct SpeakerArgs {
    /// The name of this node; without it METALLB_NODE_NAME or NODE_NAME
    #[arg(
        long,
        visible_alias = "node",
        env = "IRONLB_NODE_NAME",
        value_name = "NAME"
    )]
    node_name: Option<String>,

    /// Care for Services with this loadBalancerClass; without it, for those that have none
    #[arg(long, env = "IRONLB_LB_CLASS", value_name = "CLASS")]
    pub lb_class: Option<String>,

    /// Announce from nodes with the label node.kubernetes.io/exclude-from-external-load-balancers too
    #[arg(long, env = "IRONLB_IGNORE_EXCLUDE_LB")]
    ignore_exclude_lb: bool,

    /// Take a node with a taint of this key out of load balancing, as with that label, whatever the taint's value and effect:
    /// node.kubernetes.io/unschedulable for nodes that are cordoned; may be given more than once
    #[arg(
        long,
        env = "IRONLB_DRAIN_TAINT",
        value_name = "KEY",
        value_delimiter = ',',
        value_parser = taint_key
    )]
    drain_taint: Vec<String>,

    /// Interfaces that nothing is announced on, as a regular expression; may be given more than once, and then takes the
    /// place of the list of container and tunnel interfaces
    #[arg(
        long,
        env = "IRONLB_EXCLUDE_INTERFACES",
        value_name = "REGEX",
        value_delimiter = ','
    )]
    exclude_interfaces: Vec<Regex>,
}

impl SpeakerArgs {
    /// The name of this node.
    ///
    /// # Errors
    /// When nobody says it.
    pub fn node(&self) -> anyhow::Result<String> {
        let others = ["METALLB_NODE_NAME", "NODE_NAME"]
            .into_iter()
            .filter_map(|name| env::var(name).ok());
        let mut named = self.node_name.clone().into_iter().chain(others);
        named
            .find(|name| !name.is_empty())
            .context("the node's name is not known: give --node-name or IRONLB_NODE_NAME")
    }

    /// What the speaker of node `node` is to know.
    ///
    /// # Errors
    /// Never: the default list of excluded interfaces is one of regular expressions.
    pub fn settings(&self, node: &str) -> anyhow::Result<Settings> {
        let defaults = || {
            let patterns = DEFAULT_EXCLUDED_INTERFACES.into_iter();
            patterns.map(Regex::new).collect::<Result<Vec<_>, _>>()
        };
        let excluded_interfaces = match &self.exclude_interfaces[..] {
            [] => defaults().context("default list of excluded interfaces")?,
            given => given.to_vec(),
        };
        Ok(Settings {
            node: node.into(),
            class: self.lb_class.clone(),
            ignore_exclude_label: self.ignore_exclude_lb,
            drain_taints: self.drain_taint.iter().cloned().collect(),
            excluded_interfaces,
        })
    }
}

/// The key of a taint, which is like that of a label: what `kubectl describe node` shows before `=` or `:`.
///
/// # Errors
/// When it is none.
pub fn taint_key(text: &str) -> Result<String, String> {
    let name = text.rsplit('/').next().unwrap_or_default();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_key = !name.is_empty()
        && text.split('/').count() <= 2
        && text.split('/').all(|part| part.bytes().all(allowed));
    if is_key {
        return Ok(text.to_owned());
    }
    Err(
        "not the key of a taint, which is like node.kubernetes.io/unschedulable, without value and effect"
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        speaker: SpeakerArgs,
    }

    fn settings(arguments: &[&str]) -> Settings {
        let cli = Cli::parse_from([&["speaker"], arguments].concat());
        let node = cli.speaker.node().unwrap();
        cli.speaker.settings(&node).unwrap()
    }

    #[test]
    fn taints_are_named_by_their_keys() {
        let arguments = [
            "--node",
            "n1",
            "--drain-taint",
            "a.example/b,c",
            "--drain-taint",
            "d",
        ];
        let expected = ["a.example/b", "c", "d"].map(str::to_owned);
        assert_eq!(settings(&arguments).drain_taints, expected.into());
        assert!(settings(&["--node", "n1"]).drain_taints.is_empty());
        for wrong in ["", "a=b", "a:NoSchedule", "a/", "a/b/c", "a b"] {
            let arguments = ["speaker", "--node", "n1", "--drain-taint", wrong];
            assert!(Cli::try_parse_from(arguments).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_excluded_by_default_is_not_when_others_are_named() {
        let excluded = |arguments: &[&str], interface: &str| {
            let patterns = settings(arguments).excluded_interfaces;
            patterns.iter().any(|pattern| pattern.is_match(interface))
        };
        assert!(excluded(&["--node", "n1"], "docker0"));
        let named = ["--node-name", "n1", "--exclude-interfaces", "^eth1$,^eth2$"];
        assert!(excluded(&named, "eth2"));
        assert!(!excluded(&named, "docker0"));
    }
}
