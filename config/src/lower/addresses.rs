//! Entries of `addresses`.

use std::net::{IpAddr, Ipv6Addr};

use ironlb_model::{Family, Range};

use super::number::quoted;

/// The addresses that an entry says: a prefix, or two addresses with a hyphen. Host bits of a prefix are ignored.
pub(super) fn parse(entry: &str) -> Result<Range, String> {
    if entry.contains(',') {
        return Err(format!(
            "{} is several; write each as an entry of its own",
            quoted(entry)
        ));
    }
    if let Some((first, last)) = entry.split_once('-') {
        return range(entry, first.trim_matches(' '), last.trim_matches(' '));
    }
    let Some((address, length)) = entry.split_once('/') else {
        let found = quoted(entry);
        return Err(match entry.trim().parse::<IpAddr>() {
            Ok(address) => {
                let bits = Family::of(address).bits();
                format!("{found} has no length; a single address is {address}/{bits}")
            }
            Err(_) => format!(
                "{found} is neither a prefix (192.0.2.0/24) nor a range (192.0.2.10-192.0.2.20)"
            ),
        });
    };
    prefix(entry, address, length)
}

fn prefix(entry: &str, address: &str, length: &str) -> Result<Range, String> {
    let found = quoted(entry);
    let address = address
        .parse::<IpAddr>()
        .map_err(|_| format!("{found} is no prefix: {} is no address", quoted(address)))?;
    let family = Family::of(address);
    let has_zeros = length.len() > 1 && length.starts_with('0');
    let digits = !has_zeros && length.chars().all(|c| c.is_ascii_digit());
    let bits = digits
        .then(|| length.parse::<u8>().ok())
        .flatten()
        .filter(|bits| *bits <= family.bits())
        .ok_or_else(|| {
            format!(
                "{found} is no prefix: the length of an {family} prefix is 0 to {}, not {}",
                family.bits(),
                quoted(length)
            )
        })?;
    mapped(entry, address)?;
    let net = ipnet::IpNet::new(address, bits).map_err(|error| format!("{found}: {error}"))?;
    Ok(Range::from_net(net))
}

fn range(entry: &str, first: &str, last: &str) -> Result<Range, String> {
    let found = quoted(entry);
    let parse = |text: &str| {
        text.parse::<IpAddr>().map_err(|_| {
            let hint = range_meant(first, last);
            format!("{found} is no range: {} is no address{hint}", quoted(text))
        })
    };
    let (from, to) = (parse(first)?, parse(last)?);
    mapped(entry, from)?;
    mapped(entry, to)?;
    if Family::of(from) != Family::of(to) {
        return Err(format!(
            "{found} is no range: its ends are of different families"
        ));
    }
    Range::new(from, to)
        .ok_or_else(|| format!("{found} is no range: it ends before it begins; write {to}-{from}"))
}

/// What may have been meant by two ends of which one is no address.
fn range_meant(first: &str, last: &str) -> String {
    if parse(first).is_ok() && parse(last).is_ok() {
        return "; two entries need two lines with a dash each, one as far in as the other"
            .to_owned();
    }
    let whole = first
        .rsplit_once('.')
        .map(|(front, _)| format!("{front}.{last}"));
    match whole.filter(|whole| whole.parse::<IpAddr>().is_ok()) {
        Some(whole) if first.parse::<IpAddr>().is_ok() => format!("; write {first}-{whole}"),
        _ => String::new(),
    }
}

/// The prefix that an entry says, where it is written with more of an address than that.
pub(crate) fn with_host_bits(entry: &str) -> Option<ipnet::IpNet> {
    let net = entry.parse::<ipnet::IpNet>().ok()?;
    (net != net.trunc()).then(|| net.trunc())
}

/// An IPv4 address in IPv6 clothes is announced by nobody.
fn mapped(entry: &str, address: IpAddr) -> Result<(), String> {
    match address {
        IpAddr::V6(address) if Ipv6Addr::to_ipv4_mapped(&address).is_some() => Err(format!(
            "{} is an IPv4 address written as IPv6; write it as IPv4",
            quoted(entry)
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_and_ranges_of_both_families_are_read() {
        for (entry, meaning) in [
            ("192.0.2.77/24", "192.0.2.0/24"),
            ("192.0.2.10-192.0.2.20", "192.0.2.10-192.0.2.20"),
            ("192.0.2.10 - 192.0.2.10", "192.0.2.10/32"),
            ("2001:db8::/64", "2001:db8::/64"),
            ("2001:db8::1-2001:db8::2", "2001:db8::1-2001:db8::2"),
            ("0.0.0.0/0", "0.0.0.0/0"),
        ] {
            assert_eq!(parse(entry).unwrap().to_string(), meaning, "{entry}");
        }
    }

    #[test]
    fn an_entry_that_is_wrong_says_why() {
        for (entry, why) in [
            ("", "neither a prefix"),
            ("192.0.2.1", "192.0.2.1/32"),
            ("192.0.2.0/33", "0 to 32"),
            ("192.0.2.0/+8", "0 to 32"),
            ("192.0.2.0/08", "0 to 32"),
            ("192.0.2.0/", "0 to 32"),
            ("2001:db8::/129", "0 to 128"),
            ("192.0.2.256/24", "\"192.0.2.256\" is no address"),
            (
                "192.0.2.9-192.0.2.1",
                "ends before it begins; write 192.0.2.1-192.0.2.9",
            ),
            (
                "192.0.2.10-20",
                "\"20\" is no address; write 192.0.2.10-192.0.2.20",
            ),
            ("192.0.2.0/24 - 192.0.3.0/24", "two lines"),
            ("192.0.2.0/28, 192.0.2.32/28", "an entry of its own"),
            ("192.0.2.1-2001:db8::1", "different families"),
            ("192.0.2.1-", "\"\" is no address"),
            ("::ffff:192.0.2.0/120", "write it as IPv4"),
            ("192.0.02.0/24", "is no address"),
        ] {
            let error = parse(entry).unwrap_err();
            assert!(error.contains(why), "{entry}: {error}");
        }
    }
}
