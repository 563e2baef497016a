//! Embedded catalog.
