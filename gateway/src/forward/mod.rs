//! Forward: the request to its upstream and the answer back, byte for byte.
