//! One node's announcer: watches and frames in, frames out.
