//! The variables by which runtimes find a proxy and the certificates that they trust.
//!
//! Each is the runtime's own and is documented by it. Where a variable replaces the roots that a
//! runtime came with, it names the bundle, which has the system's beside ours; where it adds to them,
//! it names our certificate alone.

use std::path::Path;

/// A variable: its name, its value, and who reads it for what.
pub type Variable = (&'static str, String, &'static str);

/// What to set so that common runtimes go through the proxy at `proxy_url` and trust what it shows.
/// `certificate` is the authority's own, `bundle` what [`super::bundle()`] wrote.
///
/// Java reads no variable of its own for this: see [`java`].
#[must_use]
pub fn environment(proxy_url: &str, certificate: &Path, bundle: &Path) -> Vec<Variable> {
    let bundle_path = bundle.display().to_string();
    let certificate_path = certificate.display().to_string();
    let proxy = |name, why| (name, proxy_url.to_owned(), why);
    let replaces = |name, why| (name, bundle_path.clone(), why);
    let adds = |name, why| (name, certificate_path.clone(), why);
    vec![
        proxy("HTTPS_PROXY", "Python (requests, httpx, aiohttp with trust_env), Go, Rust, .NET"),
        proxy("HTTP_PROXY", "the same, for http:// URLs"),
        proxy("https_proxy", "curl, Git, Ruby, gRPC, wget"),
        proxy("http_proxy", "the same, for http:// URLs; curl reads only this spelling"),
        (
            "NODE_USE_ENV_PROXY",
            "1".to_owned(),
            "Node 22.21 and 24 or later: read the proxy from these",
        ),
        replaces(
            "SSL_CERT_FILE",
            "OpenSSL (Python ssl, httpx, aiohttp, Ruby), Go, .NET on Linux, Rust, curl, uv",
        ),
        replaces("REQUESTS_CA_BUNDLE", "Python requests, and what is made with it"),
        replaces("CURL_CA_BUNDLE", "curl"),
        adds("NODE_EXTRA_CA_CERTS", "Node, Bun, Electron"),
        adds("DENO_CERT", "Deno"),
        replaces("GIT_SSL_CAINFO", "Git"),
        replaces("AWS_CA_BUNDLE", "AWS SDKs and CLI (boto3, botocore)"),
        replaces("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "gRPC (C++, Python, Ruby, Node)"),
        replaces("PIP_CERT", "pip"),
        replaces("HTTPLIB2_CA_CERTS", "Python httplib2 (older Google clients)"),
        replaces("CARGO_HTTP_CAINFO", "Cargo"),
    ]
}

/// Lines for a shell that give Java the certificate and the proxy: it reads no PEM file and no proxy
/// variable, so its roots are copied to `store` and ours is added to the copy.
#[must_use]
pub fn java(proxy_url: &str, certificate: &Path, store: &Path) -> Vec<String> {
    let (certificate, store) = (quoted(certificate), quoted(store));
    let authority = proxy_url.split_once("://").map_or(proxy_url, |(_, rest)| rest);
    let authority = authority.trim_end_matches('/');
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "80"));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let proxies: Vec<String> = ["http", "https"]
        .map(|scheme| format!("-D{scheme}.proxyHost={host} -D{scheme}.proxyPort={port}"))
        .to_vec();
    vec![
        format!("cp \"$JAVA_HOME/lib/security/cacerts\" {store} && chmod u+w {store}"),
        format!(
            "keytool -importcert -noprompt -alias sealtap -file {certificate} -keystore {store} \
             -storepass changeit"
        ),
        format!(
            "export JAVA_TOOL_OPTIONS=\"-Djavax.net.ssl.trustStore={store} \
             -Djavax.net.ssl.trustStorePassword=changeit {}\"",
            proxies.join(" ")
        ),
    ]
}

/// `export NAME='value'`, as a POSIX shell reads it.
#[must_use]
pub fn export(name: &str, value: &str) -> String {
    format!("export {name}={}", quote(value))
}

fn quoted(path: &Path) -> String {
    quote(&path.display().to_string())
}

/// `text` as one word of a shell.
fn quote(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-:=@%+,[]".contains(&byte);
    match !text.is_empty() && text.bytes().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
