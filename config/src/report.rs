//! Errors for people: with an excerpt of the source and the place marked.
