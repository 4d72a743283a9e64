//! The Kubernetes API as a source: watches, slim objects, events.
