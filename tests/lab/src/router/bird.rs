use std::process::Command;

use serde_json::{Map, Value, json};

use super::{Place, Software, program};
use crate::{Process, Result};

/// BIRD 2, asked through birdc.
///
/// BIRD speaks no JSON; [`Router::show`](super::Router::show) reads the tables of three questions:
///
/// - `show bfd sessions`: an array of `{address, interface, state, since, interval, timeout}`;
/// - `show protocols`: an array of `{name, proto, table, state, since, info}`;
/// - `show route all` and its variants: an array of `{table, network, kind, protocol, best, via, attributes}`, where `via` is an
///   array and `attributes` has names such as `BGP.local_pref` and values as BIRD writes them.
///
/// Configuration is a whole file. It replaces the one there is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bird;

impl Software for Bird {
    fn name(&self) -> &'static str {
        "BIRD"
    }

    fn start(&self, place: &Place, config: &str) -> Result<Vec<Process>> {
        let file = place.write(CONFIG, config)?;
        let mut command = Command::new(program("bird", &[], "bird2")?);
        command.arg("-f").arg("-c").arg(file);
        command.arg("-s").arg(place.path(SOCKET));
        let process = place.spawn("bird", command)?;
        // The socket is there before the configuration is read.
        process.wait_until("BIRD answers", super::START, || {
            self.ask(place, "show status")
        })?;
        Ok(vec![process])
    }

    fn ask(&self, place: &Place, question: &str) -> Result<String> {
        let mut command = Command::new(program("birdc", &[], "bird2")?);
        command.arg("-s").arg(place.path(SOCKET));
        let answer = place.client(question, command.args(question.split_whitespace()))?;
        // The first line is the version.
        Ok(answer
            .split_once('\n')
            .map_or(String::new(), |(_, rest)| rest.to_owned()))
    }

    fn show(&self, place: &Place, question: &str) -> Result<Value> {
        let answer = self.ask(place, question)?;
        let read = match question {
            "show bfd sessions" => table(&answer, &SESSION, "IP address"),
            "show protocols" => table(&answer, &PROTOCOL, "Name"),
            _ if question.starts_with("show route") => routes(&answer),
            _ => None,
        };
        read.ok_or_else(|| place.refusal(question, &answer))
    }

    fn configure(&self, place: &Place, config: &str) -> Result<()> {
        place.write(CONFIG, config)?;
        let answer = self.ask(place, "configure")?;
        if answer.contains("Reconfigured") || answer.contains("Reconfiguration in progress") {
            return Ok(());
        }
        Err(place.refusal("configure", &answer))
    }
}

/// The rows below each line that begins with `heading`, split at spaces; what is left over goes to the last column.
fn table(answer: &str, columns: &[&str], heading: &str) -> Option<Value> {
    let mut rows = Vec::new();
    let mut inside = false;
    for line in answer.lines() {
        if line.starts_with(heading) {
            inside = true;
        } else if inside && !line.trim().is_empty() {
            rows.push(row(line, columns));
        } else {
            inside = false;
        }
    }
    // No row is an answer, an error message is none.
    let known = !rows.is_empty() || answer.contains(heading) || answer.trim().is_empty();
    known.then_some(Value::Array(rows))
}

fn row(line: &str, columns: &[&str]) -> Value {
    let mut row = Map::new();
    let mut rest = line.trim();
    for (place, column) in columns.iter().enumerate() {
        let last = place.saturating_add(1) == columns.len();
        let (word, after) = match rest.split_once(char::is_whitespace) {
            Some((word, after)) if !last => (word, after.trim_start()),
            _ => (rest, ""),
        };
        row.insert((*column).to_owned(), json!(word));
        rest = after;
    }
    Value::Object(row)
}

/// Lines of `show route all`: a table, in it networks with a route each, further routes to the same network indented, and below each
/// route what is known of it behind a tab.
fn routes(answer: &str) -> Option<Value> {
    let mut routes: Vec<Map<String, Value>> = Vec::new();
    let (mut table, mut network) = ("", "");
    for line in answer.lines().filter(|line| !line.trim().is_empty()) {
        if let Some(name) = line.strip_prefix("Table ") {
            table = name.trim_end_matches(':');
        } else if let Some(detail) = line.strip_prefix('\t') {
            add_detail(routes.last_mut()?, detail);
        } else if line.starts_with("Network not found") || line.contains("not in table") {
            return Some(json!([]));
        } else {
            let (first, rest) = line.split_once(' ')?;
            if !first.is_empty() {
                network = first;
            }
            routes.push(route(table, network, rest)?);
        }
    }
    Some(Value::Array(
        routes.into_iter().map(Value::Object).collect(),
    ))
}

/// `unicast [tor 21:34:28.629 from 10.0.0.1] * (100) [AS65000i]`, where the star says best.
fn route(table: &str, network: &str, rest: &str) -> Option<Map<String, Value>> {
    let (kind, rest) = rest.trim_start().split_once(" [")?;
    let (origin, rest) = rest.split_once(']')?;
    let protocol = origin.split(' ').next()?;
    let route = json!({
        "table": table,
        "network": network,
        "kind": kind,
        "protocol": protocol,
        "best": rest.starts_with(" *"),
        "via": [],
        "attributes": {},
    });
    match route {
        Value::Object(route) => Some(route),
        _ => None,
    }
}

fn add_detail(route: &mut Map<String, Value>, detail: &str) {
    if let Some(via) = detail.strip_prefix("via ") {
        if let Some(all) = route.get_mut("via").and_then(Value::as_array_mut) {
            all.push(json!(via));
        }
    } else if let Some((name, value)) = detail.split_once(": ")
        && let Some(all) = route.get_mut("attributes").and_then(Value::as_object_mut)
    {
        all.insert(name.to_owned(), json!(value));
    }
}

const CONFIG: &str = "bird.conf";
const SOCKET: &str = "bird.ctl";
const SESSION: [&str; 6] = [
    "address",
    "interface",
    "state",
    "since",
    "interval",
    "timeout",
];
const PROTOCOL: [&str; 6] = ["name", "proto", "table", "state", "since", "info"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_read_with_and_without_any() {
        let answer = "bfd1:\nIP address                Interface  State      Since         Interval  Timeout\n\
            10.0.0.2                  va         Up         21:34:23.380    0.100    0.500\n";
        let read = table(answer, &SESSION, "IP address").unwrap();
        assert_eq!(
            read,
            json!([{"address": "10.0.0.2", "interface": "va", "state": "Up", "since": "21:34:23.380",
                "interval": "0.100", "timeout": "0.500"}])
        );
        let empty = answer.split_inclusive('\n').take(2).collect::<String>();
        assert_eq!(table(&empty, &SESSION, "IP address"), Some(json!([])));
        assert_eq!(table("There is no BFD here", &SESSION, "IP address"), None);
    }

    #[test]
    fn the_last_column_of_protocols_may_have_spaces_or_nothing() {
        let answer = "Name       Proto      Table      State  Since         Info\n\
            bfd1       BFD        ---        up     21:34:04.137  \n\
            node       BGP        ---        start  21:34:04.137  Active        Socket: Connection refused\n";
        let read = table(answer, &PROTOCOL, "Name").unwrap();
        assert_eq!(read[0]["info"], "");
        assert_eq!(read[1]["info"], "Active        Socket: Connection refused");
    }

    #[test]
    fn routes_are_read_with_all_their_next_hops_and_attributes() {
        let answer = "Table master4:\n\
            192.0.2.3/32         unicast [node 21:34:28.629] * (100) [AS65000i]\n\
            \tvia 10.0.0.1 on vb weight 1\n\
            \tvia 10.0.0.3 on vb weight 1\n\
            \tType: BGP univ\n\
            \tBGP.community: (65000,1) (65000,2)\n\
            \x20                    unicast [other 21:34:28.629 from 10.0.0.9] (100) [AS65000i]\n\
            \tvia 10.0.0.9 on vb\n\
            \n\
            Table master6:\n\
            2001:db8::/64        unreachable [st6 21:34:24.626] * (200)\n";
        let read = routes(answer).unwrap();
        assert_eq!(
            read[0]["via"],
            json!(["10.0.0.1 on vb weight 1", "10.0.0.3 on vb weight 1"])
        );
        assert_eq!(
            read[0]["attributes"]["BGP.community"],
            "(65000,1) (65000,2)"
        );
        assert_eq!(
            (&read[0]["best"], &read[1]["best"]),
            (&json!(true), &json!(false))
        );
        assert_eq!(read[1]["network"], "192.0.2.3/32");
        assert_eq!(read[1]["protocol"], "other");
        assert_eq!(read[2]["table"], "master6");
        assert_eq!(read[2]["kind"], "unreachable");
        assert_eq!(routes("Network not found\n"), Some(json!([])));
        assert_eq!(routes("syntax error, unexpected ALL\n"), None);
    }
}
