//! The audits.
