//! What is to be so with every router. Each says itself what the router must have, beyond the session that is wanted.

use super::dialect::Dialect;

mod attributes;
mod bfd;
mod connections;
mod endings;
mod routes;

pub(super) use attributes::*;
pub(super) use bfd::*;
pub(super) use connections::*;
pub(super) use endings::*;
pub(super) use routes::*;

type On = &'static dyn Dialect;
