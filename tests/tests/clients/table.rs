//! Table: every client, whom it talks to, and what is known to differ.

use crate::client::{Client, Language, Server};
use crate::door::Door::{Forward, Reverse, ReverseTls};

const PYTHON: Client = Client {
    name: "",
    language: Language::Python,
    script: "",
    server: Server::Models,
    variables: &[],
    differs: &[],
    unable: &[],
};
const NODE: Client = Client { language: Language::Node, ..PYTHON };

/// A draw of random bytes for each session.
const WEBSOCKET: &[&str] = &["sec-websocket-key"];

/// Why a client cannot use a door.
const SIGNED: &str = "SigV4 binds the host and the path, and a base URL changes both";
const KEY: &str = "it sends an API key over TLS only";
const NO_PATH: &str = "a channel has a host and no path, where the upstream's name would be";

/// Every client.
pub(crate) const CLIENTS: [Client; 18] = [
    Client { name: "pypi_openai", script: "call_openai.py", ..PYTHON },
    Client { name: "pypi_anthropic", script: "call_anthropic.py", ..PYTHON },
    Client { name: "pypi_google_genai", script: "call_genai.py", ..PYTHON },
    Client { name: "pypi_litellm", script: "call_litellm.py", ..PYTHON },
    Client { name: "pypi_langchain_openai", script: "call_langchain.py", ..PYTHON },
    Client {
        name: "pypi_boto3_signed",
        script: "call_boto3.py",
        server: Server::Plain,
        // The signature is over the date, and the test server computes it again.
        differs: &["amz-sdk-invocation-id", "x-amz-date", "authorization"],
        unable: &[(Reverse, SIGNED), (ReverseTls, SIGNED)],
        ..PYTHON
    },
    Client {
        name: "pypi_boto3_key",
        script: "call_boto3.py",
        server: Server::Plain,
        variables: &[("BEDROCK_SIGNED", "0")],
        differs: &["amz-sdk-invocation-id"],
        unable: &[(Reverse, KEY), (Forward, KEY)],
        ..PYTHON
    },
    Client {
        name: "pypi_mcp",
        script: "call_mcp.py",
        server: Server::Tools,
        differs: &["mcp-session-id"],
        ..PYTHON
    },
    Client { name: "pypi_httpx_h2", script: "call_httpx.py", server: Server::Plain, ..PYTHON },
    Client {
        name: "pypi_aiohttp",
        script: "call_aiohttp.py",
        server: Server::Plain,
        differs: WEBSOCKET,
        ..PYTHON
    },
    Client { name: "pypi_requests", script: "call_requests.py", server: Server::Plain, ..PYTHON },
    Client {
        name: "pypi_websockets",
        script: "call_websockets.py",
        server: Server::Plain,
        differs: WEBSOCKET,
        ..PYTHON
    },
    Client {
        name: "pypi_grpcio",
        script: "call_grpc.py",
        server: Server::Procedures,
        // What is left of the deadline.
        differs: &["grpc-timeout"],
        unable: &[(Reverse, NO_PATH), (ReverseTls, NO_PATH)],
        ..PYTHON
    },
    Client { name: "npm_openai", script: "call_openai.mjs", ..NODE },
    Client { name: "npm_anthropic", script: "call_anthropic.mjs", ..NODE },
    Client {
        name: "npm_ws",
        script: "call_ws.mjs",
        server: Server::Plain,
        differs: WEBSOCKET,
        ..NODE
    },
    Client { name: "npm_undici", script: "call_undici.mjs", server: Server::Plain, ..NODE },
    Client {
        name: "curl",
        language: Language::Shell,
        script: "call_curl.sh",
        server: Server::Plain,
        ..PYTHON
    },
];
