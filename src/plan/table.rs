//! The plan as a table, one Service after the other, what is alike on several nodes on one line.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Announcement, Service};

/// Columns as wide as what is in them, separated by three blanks.
pub(super) fn render(plan: &[Service]) -> String {
    let mut rows = vec![["NAMESPACE", "NAME", "ADDRESSES", "POOL", "ANNOUNCED"].map(str::to_owned)];
    for service in plan {
        let mut lines = lines(service).into_iter();
        rows.push([
            service.namespace.clone(),
            service.name.clone(),
            or_dash(&service.ips.join(",")),
            or_dash(service.pool.as_deref().unwrap_or_default()),
            lines.next().unwrap_or_default(),
        ]);
        rows.extend(lines.map(|line| {
            [
                String::new(),
                String::new(),
                String::new(),
                String::new(),
                line,
            ]
        }));
    }
    aligned(&rows)
}

fn lines(service: &Service) -> Vec<String> {
    if let Some(reason) = &service.reason {
        return vec![format!("no: {reason}")];
    }
    let mut lines = Vec::new();
    let mut routes: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for announcement in &service.announcements {
        match announcement {
            Announcement::L2 {
                node,
                interfaces: None,
            } => lines.push(format!("layer 2 by {node}")),
            Announcement::L2 {
                node,
                interfaces: Some(interfaces),
            } => {
                let names: Vec<&str> = interfaces.iter().map(String::as_str).collect();
                lines.push(format!("layer 2 by {node} on {}", names.join(", ")));
            }
            Announcement::Bgp {
                node,
                peer,
                prefix,
                local_pref,
                communities,
                med,
                as_path_prepend,
                next_hop,
                extended_communities,
                link_bandwidth,
            } => {
                let mut route = format!("BGP {prefix} to {peer}");
                let both = [communities.as_slice(), extended_communities].concat();
                let said = [
                    ("localPref", local_pref.map(|value| value.to_string())),
                    ("MED", med.map(|value| value.to_string())),
                    ("prepend", as_path_prepend.map(|times| times.to_string())),
                    ("next hop", next_hop.clone()),
                    (
                        "communities",
                        Some(both.join(" ")).filter(|all| !all.is_empty()),
                    ),
                    (
                        "weight",
                        link_bandwidth.map(|megabits| format!("{megabits} Mbit/s")),
                    ),
                ];
                for (what, value) in said {
                    if let Some(value) = value {
                        let _ = write!(route, ", {what} {value}");
                    }
                }
                routes.entry(route).or_default().push(node);
            }
        }
    }
    let routes = routes
        .into_iter()
        .map(|(route, nodes)| format!("{route}, by {}", nodes.join(", ")));
    lines.into_iter().chain(routes).collect()
}

fn or_dash(text: &str) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text.to_owned()
    }
}

fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let mut widths = [0; COLUMNS];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:width$}   ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
