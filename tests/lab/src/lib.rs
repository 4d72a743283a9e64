//! Topologies of network namespaces, processes in them, and a real cluster on top.
