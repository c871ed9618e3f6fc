//! Names in hierarchies of every layout, and hierarchies that cannot be seen as a whole.

use rustix::fs::{Mode, OFlags, mkdirat, openat};

use super::*;

fn made(paths: &[String]) -> (tempfile::TempDir, Hierarchy) {
    let folder = tempfile::tempdir().unwrap();
    for path in paths {
        fs::create_dir_all(folder.path().join(path.trim_start_matches('/'))).unwrap();
    }
    let root = folder.path().to_owned();
    (folder, Hierarchy { root, own: "/system.slice/tap.service".into(), depth: Some(Depth::at(0)) })
}

fn paths(hierarchy: &Hierarchy, scope: &str) -> Vec<String> {
    let scope: Scope = scope.parse().unwrap();
    hierarchy.cgroups(&scope).unwrap().into_iter().map(|found| found.path).collect()
}

#[test]
fn units_and_cgroups_are_found_where_they_are() {
    let all = ["/system.slice/agent.service/sub", "/a.slice/a-b.slice/agent.service", "/apps/x"];
    let (_folder, hierarchy) = made(&all.map(str::to_owned));
    assert_eq!(
        paths(&hierarchy, "unit:agent.service"),
        ["/a.slice/a-b.slice/agent.service", "/system.slice/agent.service"]
    );
    assert_eq!(paths(&hierarchy, "/apps/x"), ["/apps/x"]);
    assert_eq!(hierarchy.cgroups(&Scope::Cgroup("/apps/x".into())).unwrap()[0].levels, 1 << 2);
    assert!(paths(&hierarchy, "/apps/y").is_empty());
    assert!(paths(&hierarchy, "unit:other.service").is_empty());
}

/// As docker, containerd, podman and CRI-O lay them out, with and without systemd.
#[test]
fn containers_are_found_in_every_layout() {
    let id = |digit: char| digit.to_string().repeat(64);
    let all = [
        format!("/system.slice/docker-{}.scope", id('1')),
        format!("/docker/{}", id('2')),
        format!("/kubepods.slice/kubepods-pod9.slice/cri-containerd-{}.scope", id('3')),
        format!("/machine.slice/libpod-{}.scope/container", id('4')),
        format!("/machine.slice/libpod-conmon-{}.scope", id('4')),
        format!("/kubepods/besteffort/pod7/{}", id('5')),
        "/system.slice/ssh.service".to_owned(),
    ];
    let (_folder, hierarchy) = made(&all);
    assert_eq!(paths(&hierarchy, "container:*").len(), 5);
    assert_eq!(paths(&hierarchy, "container:1111*"), [all[0].clone()]);
    assert_eq!(paths(&hierarchy, &format!("container:{}", id('2'))), [all[1].clone()]);
    // What is below it belongs to it.
    let podman = format!("/machine.slice/libpod-{}.scope", id('4'));
    assert_eq!(paths(&hierarchy, "container:4444*"), [podman]);
    assert!(paths(&hierarchy, "container:1111").is_empty(), "a pattern says that it is one");
}

/// A cgroup that is wanted comes in one of these folders, and what is in it is nobody's business.
#[test]
fn folders_that_one_may_come_in_are_told_of() {
    let id = "7".repeat(64);
    let all = [format!("/a/docker-{id}.scope/in/it"), "/a/b".to_owned()];
    let (folder, hierarchy) = made(&all);
    let entered = |scope: &str| {
        let mut entered = Vec::new();
        let scope: Scope = scope.parse().unwrap();
        let _ = hierarchy.cgroups_in(&scope, &mut |at| {
            let below = at.strip_prefix(folder.path()).unwrap();
            entered.push(below.to_str().unwrap().to_owned());
        });
        entered.sort();
        entered
    };
    assert_eq!(entered("container:*"), ["", "a", "a/b"]);
    assert_eq!(entered("/a/c/d"), ["", "a", "a/c"], "there or not");
}

/// One that lies deeper than the kernel's programs look is not left out in silence, nor is what is there
/// taken for gone.
#[test]
fn what_is_too_deep_is_said_and_what_is_there_is_not_gone() {
    let deep = format!("{}/agent.service", "/a".repeat(20));
    let (folder, hierarchy) = made(&[deep, "/b/agent.service".to_owned()]);
    let scope = "unit:agent.service".parse().unwrap();
    let Seen { found, error, .. } = hierarchy.cgroups_in(&scope, &mut |_| ());
    assert_eq!(found.len(), 1);
    assert!(matches!(error, Some(CgroupError::Deep { level: 21, .. })), "{error:?}");
    assert!(!hierarchy.is_gone(&found[0]));
    // Another one of the same name is not it.
    assert!(hierarchy.is_gone(&Found { id: found[0].id + 1, ..found[0].clone() }));
    fs::remove_dir(folder.path().join("b/agent.service")).unwrap();
    assert!(hierarchy.is_gone(&found[0]));
    fs::remove_dir(folder.path().join("b")).unwrap();
    assert!(hierarchy.is_gone(&found[0]));
}

/// What the programs look at is counted from the machine's root, wherever the hierarchy begins that is seen.
#[test]
fn what_is_too_deep_for_the_machine_is_refused_wherever_it_is_seen_from() {
    let (_folder, seen) = made(&["/a/b/c".to_owned()]);
    let scope = Scope::Cgroup("/a/b/c".into());
    let from = |depth| Hierarchy { depth, ..seen.clone() }.cgroups(&scope);
    assert_eq!(from(Some(Depth::at(0))).unwrap()[0].levels, 1 << 3);
    assert_eq!(from(Some(Depth::at(12))).unwrap()[0].levels, 1 << 15, "the last that is looked at");
    let refused = from(Some(Depth::at(13))).unwrap_err();
    assert!(matches!(refused, CgroupError::Deep { level: 16, .. }), "{refused}");
    let said = refused.to_string();
    assert!(said.contains("16 levels below") && said.contains("the first 16 alone"), "{said}");
    assert!(matches!(from(None), Err(CgroupError::Unknown)));
}

/// A folder that cannot be looked into hides nothing that is found elsewhere; it may hide what is not.
#[test]
fn a_closed_folder_is_passed_over_where_what_is_wanted_is_found() {
    let id = "7".repeat(64);
    let (folder, hierarchy) = made(&[format!("/a/docker-{id}.scope")]);
    // Of a path that is too long, to everybody: who owns a folder may be root, whom nothing is closed to.
    let mut deep = rustix::fs::open(folder.path(), OFlags::DIRECTORY, Mode::empty()).unwrap();
    let name = "b".repeat(250);
    for _ in 0..20 {
        mkdirat(&deep, name.as_str(), Mode::RWXU).unwrap();
        deep = openat(&deep, name.as_str(), OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    let seen =
        |pattern: &str| hierarchy.cgroups_in(&Scope::Container(pattern.to_owned()), &mut |_| ());
    let there = seen(&id);
    assert_eq!((there.found.len(), there.error.is_none()), (1, true), "{there:?}");
    assert!(matches!(there.passed, Some(CgroupError::File { .. })), "{there:?}");
    assert_eq!(hierarchy.cgroups(&Scope::Container(id)).unwrap().len(), 1);
    // Of a pattern there may be another in there.
    for (pattern, found) in [("7777*", 1), ("8888*", 0), (&*"8".repeat(64), 0)] {
        let closed = seen(pattern);
        assert_eq!((closed.found.len(), closed.passed.is_none()), (found, true), "{closed:?}");
        let said = closed.error.unwrap().to_string();
        assert!(said.contains(&format!("may hold what scope container:{pattern} names")), "{said}");
        assert!(hierarchy.cgroups(&Scope::Container(pattern.to_owned())).is_err());
    }
}

#[test]
fn a_scope_that_holds_the_gateway_is_known() {
    let (_folder, hierarchy) = made(&[]);
    for path in ["/system.slice", "/system.slice/tap.service"] {
        assert!(hierarchy.holds_this_process(path), "{path}");
    }
    for path in ["/system.slice/tap", "/system.slice/tap.service/below", "/user.slice"] {
        assert!(!hierarchy.holds_this_process(path), "{path}");
    }
}
