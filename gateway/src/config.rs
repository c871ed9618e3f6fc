//! Configuration: one TOML file and the flags of `serve`.
