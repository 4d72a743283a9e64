//! The controller against Kubernetes: watches in, Service status out.
