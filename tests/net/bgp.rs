//! `ironlb standalone` and real routers: what a router learns from us, and what becomes of traffic.

mod drain_taint;
mod fabric;
mod fields;
mod interop;
mod link_local;
mod long_routes;
mod observed;
mod restart_time;
mod strict;
mod traffic;
