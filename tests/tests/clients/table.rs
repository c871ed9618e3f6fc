//! Table: every client, whom it talks to, and what is known to differ.

use crate::client::{Client, Language, Server};

const PYTHON: Client = Client {
    name: "",
    language: Language::Python,
    script: "",
    server: Server::Models,
    differs: &[],
    unable: &[],
};
const NODE: Client = Client { language: Language::Node, ..PYTHON };

/// Every client.
pub(crate) const CLIENTS: [Client; 4] = [
    Client { name: "pypi_openai", script: "call_openai.py", ..PYTHON },
    Client { name: "pypi_anthropic", script: "call_anthropic.py", ..PYTHON },
    Client { name: "npm_openai", script: "call_openai.mjs", ..NODE },
    Client { name: "npm_anthropic", script: "call_anthropic.mjs", ..NODE },
];
