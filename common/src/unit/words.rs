//! The registered words of units.

use crate::words::words;

words! {
    /// The protocol version of one message.
    Version {
        /// HTTP/1.0.
        Http10 = "1.0",
        /// HTTP/1.1.
        Http11 = "1.1",
        /// HTTP/2.
        Http2 = "2",
    }
}

words! {
    /// How traffic came to the gateway.
    Ingress {
        /// The client addressed the gateway itself.
        Reverse = "reverse",
        /// Through a CONNECT tunnel.
        Connect = "connect",
        /// As a forward proxy, with an absolute target.
        Forward = "forward",
        /// Redirected by the kernel.
        Transparent = "transparent",
    }
}

words! {
    /// What delimited a run.
    RunNamedBy {
        /// The first elements of the path.
        Path = "path",
        /// The header `sealtap-run`.
        Header = "header",
        /// The trace id of `traceparent`.
        Traceparent = "traceparent",
        /// The client's connection.
        Connection = "connection",
        /// The launch of one command, for which the gateway ran.
        Launch = "launch",
    }
}
