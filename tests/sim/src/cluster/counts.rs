//! What is counted.

/// Things that are counted, to see that a run was worth it and that rest is rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Status writes that were asked for.
    pub writes: u64,
    /// Status writes that conflicted.
    pub conflicts: u64,
    /// Status writes that were refused, or whose answer was lost.
    pub failures: u64,
    /// Events about Services.
    pub events: u64,
    /// Changes of what a speaker says it announces.
    pub layer2: u64,
    /// Gratuitous frames sent.
    pub gratuitous: u64,
    /// Answers sent.
    pub answers: u64,
    /// Times that a process was woken at its deadline.
    pub wakes: u64,
    /// Starts of processes.
    pub starts: u64,
    /// Lists read.
    pub lists: u64,
    /// Addresses that were examined at rest and answered for.
    pub answered: u64,
    /// Addresses that were not examined at rest, because something cannot be read of which speakers know different things.
    pub unknown: u64,
    /// Addresses of pools that could not be read, which were kept and answered for at rest.
    pub in_error: u64,
    /// Addresses that two Services shared at rest.
    pub shared: u64,
    /// Times that a controller began to lead when another still believed that it did.
    pub overlaps: u64,
    /// Writes that were not begun because their controller had the lead no more.
    pub withheld: u64,
    /// Routes told, and ends of routes.
    pub routes: u64,
    /// End-of-RIBs told.
    pub ends_of_rib: u64,
    /// KEEPALIVEs of speakers.
    pub keepalives: u64,
    /// BGP sessions that came up or went down, by speakers.
    pub sessions: u64,
    /// The same, by routers.
    pub router_sessions: u64,
    /// NOTIFICATIONs of speakers.
    pub endings: u64,
    /// BFD sessions that came up or went down, by speakers.
    pub bfd: u64,
    /// Sessions that came up where both sides waited for BFD.
    pub strict: u64,
    /// Speakers that took their leave.
    pub leaves: u64,
    /// Routes that routers had at rest.
    pub routed: u64,
}
