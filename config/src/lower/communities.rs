//! Communities and their aliases.

use std::collections::{BTreeMap, BTreeSet};

use ironlb_model::Community;

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
    /// The community that `text` names: by number, or by alias.
    pub(super) fn resolve(&self, text: &str) -> Result<Community, String> {
        if text.contains(':') {
            return parse(text);
        }
        if let Some(community) = self.known.get(text) {
            return Ok(*community);
        }
        if self.wrong.contains(text) {
            return Err(format!("the alias {} is itself in error", quoted(text)));
        }
        let hint = match did_you_mean(text, self.known.keys().map(String::as_str)) {
            Some(name) => format!("; did you mean \"{name}\"?"),
            None => String::new(),
        };
        Err(format!(
            "{} is neither a community (65000:1, large:65000:1:2) nor an alias of one{hint}",
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
            None => Err("is missing; it must be like 65000:1 or large:65000:1:2".to_owned()),
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

/// `65000:1` (RFC 1997) or `large:65000:1:2` (RFC 8092).
fn parse(text: &str) -> Result<Community, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let community = match parts.as_slice() {
        ["large", global, first, second] => numbers([global, first, second])
            .map(|[global, first, second]| Community::Large(global, first, second)),
        [high, low] => numbers([high, low]).map(|[high, low]| Community::Standard(high, low)),
        _ => None,
    };
    community.ok_or_else(|| {
        format!(
            "{} is no community; it must be like 65000:1, each number 0 to 65535, or \
             large:65000:1:2, each number 0 to 4294967295",
            quoted(text)
        )
    })
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
}
