//! `[kernel]` and `[serve]`: what is watched, and by whom.

use super::*;

#[test]
fn scopes_are_read_in_each_of_their_forms() {
    let text = "[kernel]\nmode = \"enforce\"\nresolver = \"127.0.0.53\"\ncanary = \"none\"\n\
                loopback_allow = [\"127.0.0.1\", \"[::1]:6379\"]\n\
                scopes = [\"/agents/\", \"unit:a@1.service\", \"container:3f2a*\"]\n";
    let kernel = Config::parse(text, Path::new("c.toml")).unwrap().kernel;
    let of = |scope: &str| scope.parse::<Scope>().unwrap();
    assert_eq!(kernel.mode, KernelMode::Enforce);
    assert_eq!(kernel.scopes[0], Scope::Cgroup("/agents".into()));
    assert_eq!(kernel.scopes[1..], [of("unit:a@1.service"), of("container:3f2a*")]);
    assert_eq!(kernel.resolver, Some("127.0.0.53:53".parse().unwrap()));
    let places: Vec<String> = kernel.loopback_allow.iter().map(ToString::to_string).collect();
    assert_eq!(places, ["127.0.0.1:0", "[::1]:6379"]);
    assert_eq!((kernel.canary, kernel.interval.as_secs()), (None, 5));
    for scope in &kernel.scopes {
        assert_eq!(of(&scope.to_string()), *scope, "as it is shown it is read again");
    }
}

#[test]
fn a_wrong_scope_says_what_would_be_right() {
    let wrong = [
        ("agents", "such as"),
        ("/", "the gateway in it"),
        ("/sys/fs/cgroup/agents", "without /sys/fs/cgroup"),
        ("/a/../b", "plain names"),
        ("unit:agent", "full name"),
        ("unit:/a.service", "full name"),
        ("container:3f", "first 4 digits"),
        ("container:a b c d e", "first 4 digits"),
        ("pod:x", "such as"),
    ];
    for (scope, wanted) in wrong {
        let text = format!("[kernel]\nmode = \"observe\"\nscopes = [\"{scope}\"]\n");
        let said = Config::parse(&text, Path::new("c.toml")).unwrap_err().to_string();
        assert!(said.contains("c.toml:3:11: `kernel.scopes`"), "{said}");
        assert!(said.contains(wanted), "{said}");
    }
    let said = Config::parse("[kernel]\nmode = \"observe\"\n", Path::new("c.toml")).unwrap_err();
    assert!(said.to_string().contains("`kernel.scopes` is missing"), "{said}");
    let text = "[kernel]\nloopback_allow = [\"10.0.0.1:80\"]\n";
    let said = Config::parse(text, Path::new("c.toml")).unwrap_err();
    assert!(said.to_string().contains("never left alone"), "{said}");
    let said = Config::parse("[serve]\nuser = \"root\"\n", Path::new("c.toml")).unwrap_err();
    assert!(said.to_string().contains("an ordinary user"), "{said}");
}
