//! nftables rules that carry a Service's traffic to its endpoints, as netlink messages.
