//! BGP and BFD as the other side has them: routers, the TCP between them and the nodes, and the rules of what a router is
//! to hold.
//!
//! The router and its BFD are written a second time. Of `ironlb-bgp` only the messages are used, which are compared with
//! another implementation elsewhere; none of its decisions is called.

pub mod bfd;
pub mod draw;
pub mod profile;
pub mod router;
pub mod rules;
pub mod said;
pub mod tcp;
pub mod told;
