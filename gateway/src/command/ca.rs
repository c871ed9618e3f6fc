//! `sealtap ca`: the certificate that clients must trust, and how to make them.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::{Exit, Failure, Outcome, Output};
use crate::accept::authority::{
    self, Authority, AuthorityError, Certificate, Roots, Variable, environment, export, java,
};
use crate::config::{Config, Flags};
use crate::data::DataDir;

/// Print the interception CA: its certificate, its fingerprint, and what to set for each runtime.
#[derive(Debug, Args)]
#[command(after_help = "\
Clients whose TLS the gateway opens must trust this certificate. It is made at the first use; its
key never leaves keys/ca.key. In a shell whose programs should go through the gateway:
  eval \"$(sealtap ca | grep '^export ')\"

For a machine's own list of roots, or another user's programs:
  sealtap ca --pem > sealtap-ca.pem

--rotate puts a new authority in the place of the present one. Hand its certificate on, then reload
a running gateway (SIGHUP); by itself it changes within a day. Until then it issues certificates of
the old one, whose own stays in the bundle for two days:
  sealtap ca --rotate --pem > sealtap-ca.pem")]
pub struct Arguments {
    /// Data directory [default: the config file's, else ./sealtap-data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Config file of the gateway: its `[ca]` says what a new authority may vouch for
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The proxy's URL in the lines for runtimes [default: the gateway's own address]
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    /// Put a new authority in the place of the present one
    #[arg(long)]
    rotate: bool,
    /// The certificate and nothing else
    #[arg(long, conflicts_with = "json")]
    pem: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Everything that is said of an authority.
struct Told {
    certificate: Certificate,
    previous: Option<Certificate>,
    variables: Vec<Variable>,
    java: Vec<String>,
    place: PathBuf,
}

/// Prints the authority of a data directory, and makes it if there is none.
pub(super) fn run(arguments: &Arguments, output: &mut Output<'_>) -> Outcome {
    let flags = Flags { data: arguments.data.clone(), ..Flags::default() };
    let config = Config::load(arguments.config.as_deref(), &flags)?;
    let place = std::path::absolute(&config.data).map_err(|error| Failure::of(&error))?;
    let data = DataDir::new(&place);
    let failed = |error: AuthorityError| Failure::of(&error);
    let rotated = arguments.rotate && data.keys().exists();
    if rotated {
        authority::rotate(&data.keys(), &config.ca).map_err(failed)?;
    }
    let authority = Authority::open(&data.keys(), &config.ca).map_err(failed)?;
    let told = told(&authority, &config, arguments.proxy.as_deref(), &data).map_err(failed)?;
    if rotated {
        // The certificate, on standard output, is what was asked for.
        let _ = writeln!(
            anstream::stderr().lock(),
            "a new authority is in place: hand its certificate on, then send a running gateway SIGHUP"
        );
    }
    let text = match (arguments.pem, arguments.json) {
        (true, _) => told.certificate.pem,
        (_, true) => format!("{:#}\n", told.json()),
        _ => told.text(&config, &data),
    };
    output.exact().write_all(text.as_bytes()).map_err(|error| Failure::writing(&error))?;
    Ok(Exit::Done)
}

fn told(
    authority: &Authority,
    config: &Config,
    proxy: Option<&str>,
    data: &DataDir,
) -> Result<Told, AuthorityError> {
    let place = data.ca();
    let (certificate, bundle) = (place.join("ca.pem"), place.join("bundle.pem"));
    authority::write_certificate(authority, &certificate)?;
    authority::bundle(authority, &Roots::read(&bundle), &bundle)?;
    let proxy = proxy.map_or_else(|| own_address(config), ToOwned::to_owned);
    Ok(Told {
        certificate: authority.certificate(),
        previous: authority.previous()?,
        variables: environment(&proxy, &certificate, &bundle),
        java: java(&proxy, &certificate, &place.join("cacerts")),
        place,
    })
}

/// Where clients of this machine reach the gateway.
fn own_address(config: &Config) -> String {
    let mut address = config.listen;
    if address.ip().is_unspecified() {
        address.set_ip(match address.is_ipv4() {
            true => std::net::Ipv4Addr::LOCALHOST.into(),
            false => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    format!("{scheme}://{address}")
}

impl Told {
    fn text(&self, config: &Config, data: &DataDir) -> String {
        let Self { certificate, .. } = self;
        let mut text = certificate.pem.trim_end().to_owned();
        let mut say = |line: String| {
            text.push('\n');
            text.push_str(&line);
        };
        say(format!("# SHA-256 fingerprint: {}", certificate.fingerprint_text()));
        say(format!(
            "# {}, {} to {}",
            certificate.subject,
            date(certificate.from),
            date(certificate.until)
        ));
        if !certificate.is_valid_at(std::time::SystemTime::now()) {
            say("# NOT VALID NOW: check the clock, or `sealtap ca --rotate`".to_owned());
        }
        say(match certificate.domains() {
            [] => "# may vouch for any host: `domains` of `[ca]` would limit it".to_owned(),
            domains => format!("# may vouch for {} and what is below", domains.join(", ")),
        });
        if !certificate.fits(&config.ca) {
            say("# the configuration says otherwise: `sealtap ca --rotate` follows it".to_owned());
        }
        if let Some(previous) = &self.previous {
            say(format!(
                "# still in use, from before the rotation: {}",
                previous.fingerprint_text()
            ));
        }
        say(format!("# key: {} (never hand it on)", data.keys().join("ca.key").display()));
        say(format!("# for clients: {}", self.place.display()));
        for (name, value, why) in &self.variables {
            say(format!("# {why}"));
            say(export(name, value));
        }
        say("# Java reads none of these; once, and then for its programs:".to_owned());
        for line in &self.java {
            say(format!("#   {line}"));
        }
        text.push('\n');
        text
    }

    fn json(&self) -> Value {
        let file = |name: &str| self.place.join(name).display().to_string();
        let about = |certificate: &Certificate| {
            json!({
                "certificate": certificate.pem,
                "fingerprint_sha256": certificate.fingerprint_text(),
                "subject": certificate.subject,
                "not_before": date(certificate.from),
                "not_after": date(certificate.until),
                "domains": certificate.domains(),
            })
        };
        let variables = self.variables.iter();
        let variables: Vec<Value> = variables
            .map(|(name, value, why)| json!({ "name": name, "value": value, "why": why }))
            .collect();
        let mut json = about(&self.certificate);
        if let Value::Object(json) = &mut json {
            json.insert("previous".to_owned(), self.previous.as_ref().map_or(Value::Null, about));
            let files = json!({ "certificate": file("ca.pem"), "bundle": file("bundle.pem") });
            json.insert("files".to_owned(), files);
            json.insert("environment".to_owned(), Value::Array(variables));
            json.insert("java".to_owned(), json!(self.java));
        }
        json
    }
}

fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
}
