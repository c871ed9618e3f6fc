//! Route: which upstream a request goes to, and with what target.
