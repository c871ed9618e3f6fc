//! HTTP/1: a strict, sans-I/O codec.
