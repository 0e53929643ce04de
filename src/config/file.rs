//! The TOML as written.
