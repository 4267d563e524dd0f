//! Programs that fetch what they need by themselves, under a policy that allows one host.

use snapshots_tests::world::World;

pub fn work(world: &World) {
    world.set(r#"[{"domain":"allowed.example","action":"allow"}]"#);
    let said = world.run(
        "echo 'deb [trusted=yes] http://allowed.example/debian ./' >/tmp/world.list; \
         apt() { sudo apt-get -q -o Dir::Etc::SourceList=/tmp/world.list -o Dir::Etc::SourceParts=/dev/null \"$@\" 2>&1; }; \
         apt update && apt install -y outside && outside",
    );
    assert!(said.ends_with("hello from a package\n"), "{said}");
    assert!(!said.contains("W:") && !said.contains("Err:"), "{said}");
    let said = world.run("cd && git clone -q http://allowed.example/project.git && cat project/README");
    assert_eq!(said, "hello from a repository\n");
    // Under another name the same servers are not there.
    let said = world.run("cd && git clone -q http://other.example/project.git another 2>&1 || echo refused");
    assert!(said.contains("resolve host") && said.ends_with("refused\n"), "{said}");
}
