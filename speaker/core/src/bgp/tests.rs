//! A node and the routers it peers with, in virtual time: the routers are our own engine with a table of what they heard.

mod leaving;
mod places;
mod rig;
mod router;
mod routes;
mod sessions;
mod watched;
