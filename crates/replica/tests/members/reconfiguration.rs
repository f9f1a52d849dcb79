//! Configurations that change.
