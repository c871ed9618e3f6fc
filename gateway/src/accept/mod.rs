//! Accept: connections in, requests out.
