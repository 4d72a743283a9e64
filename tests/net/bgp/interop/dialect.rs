//! How each router is told what is wanted and asked what it has.

use ironlb_lab::{Host, router::Router};

use super::seen::{Path, Session};
use super::wanted::Wanted;

mod bird;
mod exabgp;
mod frr;
mod gobgp;
mod openbgpd;

pub(crate) use bird::BIRD;
pub(crate) use exabgp::EXABGP;
pub(crate) use frr::FRR;
pub(crate) use gobgp::GOBGP;
pub(crate) use openbgpd::OPENBGPD;

/// One of the routers.
pub(crate) trait Dialect: Sync {
    /// Starts it as wanted.
    fn start(&self, host: &Host, wanted: &Wanted) -> Router;

    /// The routes that it has to a prefix.
    fn paths(&self, router: &Router, wanted: &Wanted, prefix: &str) -> Result<Vec<Path>, String>;

    /// The session.
    fn session(&self, router: &Router, wanted: &Wanted) -> Result<Session, String>;

    /// Has it ask for our routes again.
    fn refresh(&self, _router: &Router, _wanted: &Wanted) {
        panic!("it has no command for that");
    }

    /// Has it connect now.
    fn dial(&self, _router: &Router, _wanted: &Wanted) {}
}
