//! What another implementation says of our certificates.

use std::path::Path;
use std::process::Command;

use super::*;

/// `openssl` with these arguments: whether it was satisfied, and what it said.
fn openssl(arguments: &[&str]) -> (bool, String) {
    let run = Command::new("openssl").args(arguments).output().expect("openssl runs");
    let text = [run.stdout, run.stderr].concat();
    (run.status.success(), String::from_utf8(text).unwrap())
}

fn write_leaf(directory: &Path, key: &CertifiedKey) -> String {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(&key.cert[0]);
    let path = directory.join("leaf.pem");
    let text = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
    let wrapped: Vec<String> = text
        .lines()
        .flat_map(|line| line.as_bytes().chunks(64))
        .map(|line| String::from_utf8(line.to_vec()).unwrap())
        .collect();
    std::fs::write(&path, wrapped.join("\n") + "\n").unwrap();
    path.display().to_string()
}

#[test]
fn openssl_verifies_leaves_in_its_strictest_mode() {
    for settings in [Ca::default(), constrained()] {
        let (directory, issuing) = issuing(&settings);
        let ca = files::path(directory.path()).display().to_string();
        for (name, check) in [
            ("api.example.com", ["-verify_hostname", "api.example.com"]),
            ("10.1.2.3", ["-verify_ip", "10.1.2.3"]),
        ] {
            let leaf = issuing.leaf(&dns(name), SystemTime::now()).unwrap();
            let leaf = write_leaf(directory.path(), &leaf);
            let purpose = ["-purpose", "sslserver", "-x509_strict"];
            let line = [&["verify", "-CAfile", &ca][..], &purpose, &check, &[&leaf]].concat();
            let (valid, said) = openssl(&line);
            assert!(valid, "{name}: {said}");
            let wrong = ["verify", "-CAfile", &ca, "-verify_hostname", "other.example", &leaf];
            assert!(!openssl(&wrong).0);
            let (valid, _) = openssl(&["verify", "-CAfile", &ca, "-purpose", "sslclient", &leaf]);
            assert!(!valid, "a leaf is for servers only");
        }
    }
}

#[test]
fn openssl_rejects_a_leaf_outside_of_the_name_constraints() {
    let (directory, issuing) = issuing(&constrained());
    let ca = files::path(directory.path()).display().to_string();
    for name in ["example.org", "notexample.com", "11.0.0.1", "2001:db8::1"] {
        // As whoever has the key could make it.
        let leaf = issuing.mint(&dns(name), SystemTime::now()).unwrap();
        let leaf = write_leaf(directory.path(), &leaf);
        let (valid, said) = openssl(&["verify", "-CAfile", &ca, &leaf]);
        assert!(!valid && said.contains("permitted subtree violation"), "{name}: {said}");
    }
    rotate(directory.path(), &Ca { networks: Vec::new(), ..constrained() }).unwrap();
    let issuing = read(directory.path(), &constrained()).unwrap();
    for name in ["10.1.2.3", "::1"] {
        let leaf = issuing.mint(&dns(name), SystemTime::now()).unwrap();
        let leaf = write_leaf(directory.path(), &leaf);
        let (valid, said) = openssl(&["verify", "-CAfile", &ca, &leaf]);
        assert!(!valid && said.contains("excluded subtree violation"), "{name}: {said}");
    }
}

#[test]
fn openssl_reads_the_certificate_as_it_is_meant() {
    let (directory, issuing) = issuing(&constrained());
    let ca = files::path(directory.path()).display().to_string();
    let (_, text) = openssl(&["x509", "-in", &ca, "-noout", "-text", "-fingerprint", "-sha256"]);
    for part in [
        "CA:TRUE, pathlen:0",
        "X509v3 Basic Constraints: critical",
        "X509v3 Key Usage: critical",
        "Certificate Sign, CRL Sign",
        "TLS Web Server Authentication",
        "X509v3 Name Constraints: critical",
        "DNS:example.com",
        "IP:10.0.0.0/255.0.0.0",
        "prime256v1",
        "X509v3 Subject Key Identifier",
        &issuing.certificate().fingerprint_text(),
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let key = directory.path().join("ca.key").display().to_string();
    let (read, text) = openssl(&["pkey", "-in", &key, "-noout", "-text_pub"]);
    assert!(read && text.contains("P-256"), "{text}");
}
