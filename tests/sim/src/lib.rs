//! A cluster in virtual time, driven by a seed.
