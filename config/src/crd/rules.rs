//! Rules that the API server evaluates (CEL), and patterns.
//!
//! What a pattern or a limit can say is said so; CEL is for the rest. Its cost is estimated from the limits on the
//! lengths of lists and texts, which is why everything has one. Empty text counts as absent, as everywhere.

use ironlb_model::Community;
use serde_json::{Value, json};

/// The value of `x-kubernetes-validations`: rules, each with what to tell when it does not hold.
pub(super) fn rules<const N: usize>(rules: [(&str, &str); N]) -> Value {
    rules
        .map(|(rule, message)| json!({"rule": rule, "message": message}))
        .to_vec()
        .into()
}

/// The items of `addresses`. The pattern knows all of IPv4; of IPv6 it knows what keeps the rules cheap.
pub(super) fn address_entries() -> Value {
    let v4 = format!(r"{OCTET}(\.{OCTET}){{3}}");
    let v6 = "[0-9a-fA-F.]*:[0-9a-fA-F:.]*";
    let pattern =
        format!("^({v4}/(3[0-2]|[12]?[0-9])|{v4} *- *{v4}|{v6}/[0-9]{{1,3}}|{v6} *- *{v6})$");
    // The numbers of a range of IPv4. A rule cannot give a name to what it has found: it looks for each anew.
    let octet = |index: u8| {
        let blanks = if matches!(index, 3 | 4) {
            ".trim()"
        } else {
            ""
        };
        format!("int(self.replace('-', '.').split('.')[{index}]{blanks})")
    };
    let number = |first: u8| {
        let [a, b, c, d] = [0, 1, 2, 3].map(|index| octet(first + index));
        format!("{a} * 16777216 + {b} * 65536 + {c} * 256 + {d}")
    };
    let in_order = format!(
        "self.contains(':') || !self.contains('-') || {} <= {}",
        number(0),
        number(4)
    );
    let rules = rules([
        (
            "!self.contains(':') || isCIDR(self) || (self.contains('-') && \
             isIP(self.split('-')[0].trim()) && isIP(self.split('-')[1].trim()))",
            "must be a prefix (2001:db8::/64) or a range (2001:db8::10-2001:db8::20)",
        ),
        (&in_order, "a range must not end before it begins"),
    ]);
    json!({
        "type": "string",
        "maxLength": 88,
        "pattern": pattern,
        "x-kubernetes-validations": rules,
    })
}

/// Communities by number, and aliases (which have no colon).
pub(super) fn communities_and_aliases() -> Value {
    let rule = format!("!self.contains(':') || {COMMUNITY}");
    let rules = rules([(rule.as_str(), COMMUNITY_MESSAGE)]);
    json!({"type": "string", "minLength": 1, "maxLength": 64, "x-kubernetes-validations": rules})
}

/// A community by number, or by the name that everybody knows.
pub(super) fn community() -> Value {
    let names = Community::WELL_KNOWN.map(|(name, _)| format!("'{name}'"));
    let rule = format!("self in [{}] || {COMMUNITY}", names.join(", "));
    rules([(rule.as_str(), COMMUNITY_MESSAGE)])
}

/// Extended communities in one of their notations.
pub(super) fn extended_communities() -> Value {
    let number = "[0-9]{1,10}";
    let pattern = format!(
        "^((rt|soo):({OCTET}(\\.{OCTET}){{3}}|{number}|[0-9]{{1,5}}\\.[0-9]{{1,5}}):{number}|0x[0-9a-fA-F]{{16}})$"
    );
    json!({"type": "string", "maxLength": 40, "pattern": pattern})
}

/// The address of a router of this family, or nothing.
pub(super) fn next_hop(family: u8) -> Value {
    let rule = format!("self == '' || (isIP(self) && ip(self).family() == {family})");
    let message = format!("must be an IPv{family} address");
    rules([(rule.as_str(), message.as_str())])
}

/// An address, or nothing.
pub(super) fn address() -> Value {
    rules([("self == '' || isIP(self)", "must be an IP address")])
}

/// The address of a peer, or nothing: of a link-local one with the interface.
pub(super) fn peer_address() -> Value {
    const PLAIN: &str = "isIP(self) && !(ip(self).family() == 6 && ip(self).isLinkLocalUnicast())";
    const ZONED: &str = "self.matches('^[^%]+%[^%/: ]{1,15}$') && isIP(self.split('%')[0]) && \
         ip(self.split('%')[0]).family() == 6 && ip(self.split('%')[0]).isLinkLocalUnicast()";
    let rule = format!("self == '' || (self.contains('%') ? {ZONED} : {PLAIN})");
    rules([(
        rule.as_str(),
        "must be an IP address, and a link-local one must be like fe80::1%eth0, with its interface",
    )])
}

/// A BGP identifier, or nothing.
pub(super) fn router_id() -> Value {
    rules([(
        "self == '' || (isIP(self) && ip(self).family() == 4 && self != '0.0.0.0')",
        "must be like an IPv4 address, and not 0.0.0.0",
    )])
}

/// A duration between two others.
pub(super) fn duration_within(shortest: &str, longest: &str) -> Value {
    let rule = format!(
        "duration(self) >= duration('{shortest}') && duration(self) <= duration('{longest}')"
    );
    let message = format!("must be {shortest} to {longest}");
    rules([(rule.as_str(), message.as_str())])
}

/// Time between attempts to connect.
pub(super) fn connect_time() -> Value {
    rules([(
        "self == '' || (duration(self) >= duration('1s') && duration(self) <= duration('65535s') && \
         duration(self).getMilliseconds() % 1000 == 0)",
        "must be 1s to 65535s, in whole seconds",
    )])
}

/// How long routes are kept over a restart.
pub(super) fn restart_time() -> Value {
    rules([(
        "duration(self) >= duration('1s') && duration(self) <= duration('4095s') && \
         duration(self).getMilliseconds() % 1000 == 0",
        "must be 1s to 4095s, in whole seconds",
    )])
}

/// What the fields of a BGPPeer may not be together.
pub(super) fn peer() -> Value {
    rules([
        (
            "(has(self.peerASN) && self.peerASN != 0) != has(self.dynamicASN)",
            "exactly one of peerASN and dynamicASN must be set",
        ),
        (
            "(has(self.peerAddress) && self.peerAddress != '') != (has(self.interface) && self.interface != '')",
            "exactly one of peerAddress and interface must be set",
        ),
        (
            "!(has(self.password) && self.password != '' && has(self.passwordSecret) && \
             has(self.passwordSecret.name) && self.passwordSecret.name != '')",
            "password and passwordSecret must not both be set",
        ),
        (
            "!self.ebgpMultiHop || !((has(self.peerASN) && self.peerASN == self.myASN) || \
             (has(self.dynamicASN) && self.dynamicASN == 'internal'))",
            "ebgpMultiHop is for external peers, and this one has our AS number",
        ),
        (
            "!has(self.holdTime) || self.holdTime == '' || duration(self.holdTime).getSeconds() == 0 || \
             (duration(self.holdTime).getSeconds() >= 3 && duration(self.holdTime).getSeconds() <= 65535)",
            "holdTime must be 0s, or 3s to 65535s",
        ),
        (
            "!has(self.keepaliveTime) || self.keepaliveTime == '' || \
             duration(self.keepaliveTime).getSeconds() <= (has(self.holdTime) && self.holdTime != '' ? \
             duration(self.holdTime).getSeconds() : 21845)",
            "keepaliveTime must not be longer than holdTime, nor than 21845s without one",
        ),
        (
            "!has(self.sourceAddress) || !isIP(self.sourceAddress) || !has(self.peerAddress) || \
             !isIP(self.peerAddress.split('%')[0]) || \
             ip(self.sourceAddress).family() == ip(self.peerAddress.split('%')[0]).family()",
            "sourceAddress must be of the same family as peerAddress",
        ),
        (
            "!has(self.ttlSecurityHops) || !self.ebgpMultiHop",
            "ttlSecurityHops says how many hops there may be; ebgpMultiHop must not be set besides",
        ),
        (
            "!self.bfdStrict || (has(self.bfdProfile) && self.bfdProfile != '')",
            "bfdStrict is for a session with BFD, and bfdProfile is not set",
        ),
        (
            "!has(self.restartTime) || self.enableGracefulRestart",
            "restartTime is for enableGracefulRestart, which is not set",
        ),
        (
            "self.enableGracefulRestart == oldSelf.enableGracefulRestart",
            "enableGracefulRestart cannot be changed; delete the peer and create it anew",
        ),
    ])
}

/// Aggregation makes no sense of single Services.
pub(super) fn bgp_advertisement() -> Value {
    rules([(
        "!has(self.serviceSelectors) || size(self.serviceSelectors) == 0 || \
         (self.aggregationLength == 32 && self.aggregationLengthV6 == 128)",
        "with serviceSelectors, aggregationLength must be 32 and aggregationLengthV6 128",
    )])
}

/// Which operators have values.
pub(super) fn requirement() -> Value {
    rules([(
        "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : \
         !has(self.values) || size(self.values) == 0",
        "In and NotIn need values; Exists and DoesNotExist have none",
    )])
}

/// A field that cannot be changed.
pub(super) fn immutable() -> Value {
    rules([("self == oldSelf", "cannot be changed")])
}

/// A duration as Go writes it.
pub(super) const DURATION: &str = r"^(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$";

/// A duration as Go writes it, or nothing.
pub(super) const DURATION_OR_NOTHING: &str =
    r"^(|0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$";

/// A label's key.
pub(super) const LABEL_KEY: &str = concat!(
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?",
    r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
);

/// A label's value.
pub(super) const LABEL_VALUE: &str = r"^(|[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)$";

/// A number of an IPv4 address.
const OCTET: &str = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";

const COMMUNITY: &str = "(self.matches('^[0-9]{1,10}:[0-9]{1,10}$') && \
     int(self.split(':')[0]) <= 65535 && int(self.split(':')[1]) <= 65535) || \
     (self.matches('^large(:[0-9]{1,10}){3}$') && int(self.split(':')[1]) <= 4294967295 && \
     int(self.split(':')[2]) <= 4294967295 && int(self.split(':')[3]) <= 4294967295)";

const COMMUNITY_MESSAGE: &str = "must be like 65000:1, each number 0 to 65535, like large:65000:1:2, each number 0 to 4294967295, or a well-known name";
