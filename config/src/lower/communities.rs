//! Communities, their names, and extended communities.

use std::collections::{BTreeMap, BTreeSet};

use ironlb_model::community::ExtendedKind;
use ironlb_model::{Community, ExtendedCommunity};

use super::number::{filled, quoted};
use crate::crd::CommunityAlias;
use crate::error::Error;
use crate::objects::{Draft, Spec};
use crate::place::{At, Report};
use crate::suggest::did_you_mean;

/// What the aliases mean.
#[derive(Default)]
pub(super) struct Aliases {
    known: BTreeMap<String, Community>,
    /// Those that are defined wrongly; it is said where.
    wrong: BTreeSet<String>,
}

impl Aliases {
    /// The community that `text` names: by number, by alias, or by the name that everybody knows, which an alias may
    /// give another meaning.
    pub(super) fn resolve(&self, text: &str) -> Result<Community, String> {
        if text.contains(':') {
            return numbered(text).ok_or_else(|| no_community(text));
        }
        if let Some(community) = self.known.get(text) {
            return Ok(*community);
        }
        if self.wrong.contains(text) {
            return Err(format!("the alias {} is itself in error", quoted(text)));
        }
        if let Some(community) = Community::well_known(text) {
            return Ok(community);
        }
        let well_known = Community::WELL_KNOWN.iter().map(|(name, _)| *name);
        let names = self.known.keys().map(String::as_str).chain(well_known);
        let hint = match did_you_mean(text, names) {
            Some(name) => format!("; did you mean \"{name}\"?"),
            None => String::new(),
        };
        Err(format!(
            "{} is neither a community (65000:1, large:65000:1:2, no-export) nor an alias of one{hint}",
            quoted(text)
        ))
    }
}

/// The aliases of all objects. An alias in error is not known; the others of its object are.
pub(super) fn lower(drafts: &[&Draft], errors: &mut Vec<Error>) -> Aliases {
    let mut aliases = Aliases::default();
    let mut defined = BTreeMap::new();
    for draft in drafts {
        let Spec::Community(spec) = &draft.spec else {
            continue;
        };
        let mut report = Report::new(&draft.place);
        let at = At::ROOT.key("spec");
        let at = at.key("communities");
        for (index, alias) in spec.communities.iter().enumerate() {
            let at = at.index(index);
            let Some(name) = filled(alias.name.as_ref()) else {
                report.add(&at.key("name"), "is missing");
                continue;
            };
            if let Some(first) = defined.insert(name, draft) {
                let message = format!(
                    "the alias {} is there twice; the other is in {}",
                    quoted(name),
                    first.place
                );
                report.add(&at.key("name"), message);
                defined.insert(name, first);
                continue;
            }
            aliases.define(name, alias, &at, &mut report);
        }
        errors.append(&mut report.into_errors());
    }
    aliases
}

impl Aliases {
    fn define(&mut self, name: &str, alias: &CommunityAlias, at: &At<'_>, report: &mut Report<'_>) {
        if name.contains(':') {
            let message = format!(
                "{} looks like a community; an alias has no colon",
                quoted(name)
            );
            report.add(&at.key("name"), message);
        }
        let value = match filled(alias.value.as_ref()) {
            Some(text) => parse(text),
            None => {
                Err("is missing; it must be like 65000:1, large:65000:1:2 or no-export".to_owned())
            }
        };
        match value {
            Ok(community) => {
                self.known.insert(name.to_owned(), community);
            }
            Err(message) => {
                self.wrong.insert(name.to_owned());
                report.add(&at.key("value"), message);
            }
        }
    }
}

/// By number, or by the name that everybody knows.
fn parse(text: &str) -> Result<Community, String> {
    let community = numbered(text).or_else(|| Community::well_known(text));
    community.ok_or_else(|| no_community(text))
}

/// `65000:1` (RFC 1997) or `large:65000:1:2` (RFC 8092).
fn numbered(text: &str) -> Option<Community> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        ["large", global, first, second] => numbers([global, first, second])
            .map(|[global, first, second]| Community::Large(global, first, second)),
        [high, low] => numbers([high, low]).map(|[high, low]| Community::Standard(high, low)),
        _ => None,
    }
}

fn no_community(text: &str) -> String {
    let names = Community::WELL_KNOWN.map(|(name, _)| name);
    format!(
        "{} is no community; it must be like 65000:1, each number 0 to 65535, like large:65000:1:2, each number 0 to \
         4294967295, or a well-known name ({})",
        quoted(text),
        names.join(", ")
    )
}

/// `rt:` or `soo:` with an AS number or an IPv4 address, and a number: 32 bits beside a 2-octet AS, else 16. An AS
/// number up to 65535 is of 2 octets, unless it is written as `0.65000` (RFC 5396, asdot). Or all eight octets.
pub(super) fn extended(text: &str) -> Result<ExtendedCommunity, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let community = match parts.as_slice() {
        ["rt", owner, number] => owned(ExtendedKind::RouteTarget, owner, number),
        ["soo", owner, number] => owned(ExtendedKind::RouteOrigin, owner, number),
        [octets] => octets.strip_prefix("0x").and_then(raw),
        _ => None,
    };
    community.ok_or_else(|| {
        format!(
            "{} is no extended community; it must be like rt:65000:1, rt:4200000000:1, soo:192.0.2.1:1 (the last number \
             at most 65535, beside a 2-octet AS number at most 4294967295), or 0x and 16 hexadecimal digits",
            quoted(text)
        )
    })
}

fn owned(kind: ExtendedKind, owner: &str, number: &str) -> Option<ExtendedCommunity> {
    if let Some([asn]) = numbers([owner]) {
        let [number] = numbers([number])?;
        return Some(ExtendedCommunity::of_as2(kind, asn, number));
    }
    let [number] = numbers([number])?;
    if let Ok(address) = owner.parse() {
        return Some(ExtendedCommunity::of_address(kind, address, number));
    }
    let asn = match owner.split_once('.') {
        Some((high, low)) => {
            let [high, low]: [u16; 2] = numbers([high, low])?;
            u32::from(high) << 16 | u32::from(low)
        }
        None => numbers([owner]).map(|[asn]| asn)?,
    };
    Some(ExtendedCommunity::of_as4(kind, asn, number))
}

fn raw(digits: &str) -> Option<ExtendedCommunity> {
    let all = digits.len() == 16 && digits.chars().all(|c| c.is_ascii_hexdigit());
    let number = u64::from_str_radix(digits, 16).ok().filter(|_| all)?;
    Some(ExtendedCommunity(number.to_be_bytes()))
}

fn numbers<T: std::str::FromStr + Default + Copy, const N: usize>(
    texts: [&str; N],
) -> Option<[T; N]> {
    let mut numbers = [T::default(); N];
    for (number, text) in numbers.iter_mut().zip(texts) {
        let digits = text.len() <= 10 && text.chars().all(|c| c.is_ascii_digit());
        *number = digits.then(|| text.parse().ok()).flatten()?;
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        assert_eq!(parse("65000:1"), Ok(Community::Standard(65000, 1)));
        assert_eq!(
            parse("large:4294967295:1:2"),
            Ok(Community::Large(4_294_967_295, 1, 2))
        );
    }

    #[test]
    fn what_is_no_community_is_refused() {
        for text in [
            "",
            ":",
            "65536:1",
            "1:65536",
            "1",
            "1:2:3",
            "large:1:2",
            "large:1:2:4294967296",
            "-1:2",
            "+1:2",
            "a:b",
            "large:1:2:3:4",
            "1: 2",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
    #[test]
    fn well_known_names_are_read_unless_an_alias_says_otherwise() {
        let mut aliases = Aliases::default();
        let blackhole = aliases.resolve("blackhole");
        assert_eq!(blackhole, Ok(Community::Standard(65535, 666)));
        let ours = Community::Standard(65000, 666);
        aliases.known.insert("blackhole".to_owned(), ours);
        assert_eq!(aliases.resolve("blackhole"), Ok(ours));
        assert_eq!(aliases.resolve("no-export"), Ok(Community::NO_EXPORT));
        let misspelt = aliases.resolve("no-exprot").unwrap_err();
        assert!(
            misspelt.contains("did you mean \"no-export\"?"),
            "{misspelt}"
        );
    }

    #[test]
    fn extended_communities_read_as_they_print() {
        for text in [
            "rt:65000:4294967295",
            "soo:65000:1",
            "rt:4200000000:65535",
            "rt:0.65000:1",
            "soo:192.0.2.1:7",
            "0x030c000000000008",
        ] {
            assert_eq!(extended(text).unwrap().to_string(), text);
        }
        assert_eq!(extended("rt:1.1:1").unwrap().to_string(), "rt:65537:1");
    }

    #[test]
    fn what_is_no_extended_community_is_refused() {
        for text in [
            "",
            "rt",
            "rt:65000",
            "65000:1",
            "rt:4200000000:65536",
            "rt:4294967296:1",
            "rt:65000:4294967296",
            "soo:192.0.2.1:65536",
            "soo:192.0.2.300:1",
            "soo:2001:db8::1:1",
            "rt:65000:1:1",
            "0x0",
            "0x+30c00000000000g",
            "rt:1.65536:1",
        ] {
            assert!(extended(text).is_err(), "{text}");
        }
    }
}
