//! What clients are handed: files and variables.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::*;

fn certificates(path: &Path) -> Vec<Vec<u8>> {
    CertificateDer::pem_file_iter(path).unwrap().map(|der| der.unwrap().to_vec()).collect()
}

#[test]
fn a_bundle_holds_the_systems_roots_and_ours_and_the_one_before_a_rotation() {
    let directory = directory();
    let settings = Ca::default();
    let authority = Authority::open(directory.path(), &settings).unwrap();
    let first = authority.certificate().chain[0].to_vec();
    let path = directory.path().join("new/folder/bundle.pem");
    let others = bundle(&authority, &Roots::read(&path), &path).unwrap();
    let system = rustls_native_certs::load_native_certs().certs;
    let found = certificates(&path);
    assert_eq!((found.len(), &found[0]), (others + 1, &first));
    assert!(system.iter().all(|root| found.contains(&root.to_vec())));
    rotate(directory.path(), &settings).unwrap();
    authority.reload(&settings).unwrap();
    assert_eq!(bundle(&authority, &Roots::read(&path), &path).unwrap(), others);
    let found = certificates(&path);
    assert_eq!(found.len(), others + 2);
    assert_eq!(found[..2], [authority.certificate().chain[0].to_vec(), first]);
    let alone = directory.path().join("ca.pem-for-clients");
    write_certificate(&authority, &alone).unwrap();
    assert_eq!(certificates(&alone), found[..2]);
    let left: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing half written stays");
}

#[test]
fn a_file_that_holds_the_same_is_left_alone_and_any_other_is_put_right() {
    use std::os::unix::fs::MetadataExt as _;
    let directory = directory();
    let authority = Authority::open(directory.path(), &Ca::default()).unwrap();
    let path = directory.path().join("bundle.pem");
    let roots = Roots::read(&path);
    bundle(&authority, &roots, &path).unwrap();
    let held = std::fs::read(&path).unwrap();
    let number = || std::fs::metadata(&path).unwrap().ino();
    let first = number();
    bundle(&authority, &roots, &path).unwrap();
    assert_eq!(number(), first, "it was written again");
    let mut spoilt = held.clone();
    spoilt[30] ^= 1;
    for wrong in [&spoilt[..], &held[1..], b""] {
        std::fs::write(&path, wrong).unwrap();
        bundle(&authority, &roots, &path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), held);
    }
}

#[test]
fn a_bundle_is_made_again_when_something_of_it_has_changed() {
    use std::os::unix::fs::MetadataExt as _;
    let directory = directory();
    let settings = Ca::default();
    let authority = Authority::open(directory.path(), &settings).unwrap();
    let path = directory.path().join("ca/bundle.pem");
    let make = || RootsSince::look(&path).bundle(&authority).unwrap();
    make();
    let held = std::fs::read(&path).unwrap();
    bundle(&authority, &Roots::read(&path), &path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), held, "it is the whole bundle");
    let note = directory.path().join("ca/bundle.pem.from");
    let made = std::fs::read(&note).unwrap();
    let number = || std::fs::metadata(&note).unwrap().mtime_nsec();
    let first = number();
    make();
    assert_eq!(number(), first, "it was made again");
    std::fs::write(&path, "spoilt").unwrap();
    make();
    assert_eq!(std::fs::read(&path).unwrap(), held);
    for wrong in [&b""[..], &made[1..], &[0; 64]] {
        std::fs::write(&note, wrong).unwrap();
        make();
        assert_eq!(std::fs::read(&path).unwrap(), held);
    }
    rotate(directory.path(), &settings).unwrap();
    authority.reload(&settings).unwrap();
    make();
    assert_eq!(certificates(&path)[0], authority.certificate().chain[0].to_vec());
}

#[test]
fn variables_say_where_the_proxy_and_the_certificates_are() {
    let (ca, bundle) = (Path::new("/d/ca/ca.pem"), Path::new("/d/ca/bundle.pem"));
    let variables = environment("http://127.0.0.1:4141", ca, bundle);
    let value = |name: &str| {
        let found = variables.iter().find(|(known, _, _)| *known == name);
        found.unwrap_or_else(|| panic!("{name}")).1.clone()
    };
    for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"] {
        assert_eq!(value(name), "http://127.0.0.1:4141");
    }
    for name in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO"] {
        assert_eq!(value(name), "/d/ca/bundle.pem");
    }
    for name in ["NODE_EXTRA_CA_CERTS", "DENO_CERT"] {
        assert_eq!(value(name), "/d/ca/ca.pem");
    }
    let names: std::collections::BTreeSet<_> = variables.iter().map(|(name, _, _)| name).collect();
    assert_eq!(names.len(), variables.len());
}

#[test]
fn a_shell_reads_lines_as_they_are_meant() {
    for value in ["plain", "", "two words", "it's", "$HOME `id` \"x\" \\ *", "a\nb"] {
        let script = format!("{}; printf %s \"$NAME\"", export("NAME", value));
        let run = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
        assert_eq!(String::from_utf8(run.stdout).unwrap(), value);
    }
    let lines = java("http://127.0.0.1:4141", Path::new("/a b/ca.pem"), Path::new("/s/cacerts"));
    assert!(lines[1].contains("-file '/a b/ca.pem' -keystore /s/cacerts"), "{lines:?}");
    assert!(lines[2].contains("-Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=4141"), "{lines:?}");
}
