//! What a sprite finds of its own below `/.sprite`: its tools, a guide for those who work in it, a copy of its policy.

use nix::mount::{MsFlags, mount};
use sprites_api::policy::NetworkPolicy;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// Its tools.
const TOOLS: [&str; 2] = ["sprite-env", "sprite-console"];
/// What a program or a person in a sprite should know.
const GUIDE: &str = include_str!("interior/llm.txt");

/// Writes what does not change while the machine runs; only what differs, because a boot should not dirty blocks for nothing.
pub(crate) fn furnish(home: &Path) -> io::Result<()> {
    fs::create_dir_all(home.join("logs/services"))?;
    for (name, text) in [("version.txt", concat!(env!("CARGO_PKG_VERSION"), "\n")), ("llm.txt", GUIDE)] {
        let path = home.join(name);
        if !fs::read_to_string(&path).is_ok_and(|present| present == text) {
            fs::write(&path, text)?;
        }
    }
    Ok(())
}

/// Makes the tools known to every shell: those that log in, and `sudo`, look for programs in places of their own.
pub(crate) fn link_tools(home: &Path, places: &Path) -> io::Result<()> {
    for name in TOOLS {
        let (tool, link) = (home.join("bin").join(name), places.join(name));
        match symlink(&tool, &link) {
            // Whatever stands there already is somebody's.
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Makes the folder of the policy one that nobody inside can write into without meaning to.
pub(crate) fn close_policy(home: &Path) -> io::Result<()> {
    let folder = home.join("policy");
    fs::create_dir_all(&folder)?;
    mount(Some("policy"), &folder, Some("tmpfs"), closed(), Some("size=4m,mode=755"))?;
    write_policy(home, &NetworkPolicy::default())
}

/// Tells the sprite its policy. It is a copy: what is enforced is enforced outside.
pub(crate) fn write_policy(home: &Path, policy: &NetworkPolicy) -> io::Result<()> {
    let folder = home.join("policy");
    fs::create_dir_all(&folder)?;
    let remount =
        |flags| mount(None::<&str>, &folder, None::<&str>, flags | MsFlags::MS_REMOUNT, None::<&str>);
    // Where it is no mount of its own it can be written as it is.
    let _ = remount(closed() & !MsFlags::MS_RDONLY);
    let written = replace(&folder, policy);
    let _ = remount(closed());
    written
}

fn replace(folder: &Path, policy: &NetworkPolicy) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer_pretty(&mut file, policy)?;
    file.write_all(b"\n")?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o444))?;
    file.persist(folder.join("network.json")).map_err(|error| error.error)?;
    Ok(())
}

fn closed() -> MsFlags {
    MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found() {
        let home = tempfile::tempdir().unwrap();
        furnish(home.path()).unwrap();
        furnish(home.path()).unwrap();
        assert!(fs::read_to_string(home.path().join("llm.txt")).unwrap().contains("sprite-env"));
        let places = tempfile::tempdir().unwrap();
        fs::write(places.path().join("sprite-console"), "somebody's own").unwrap();
        link_tools(home.path(), places.path()).unwrap();
        let link = fs::read_link(places.path().join("sprite-env")).unwrap();
        assert_eq!(link, home.path().join("bin/sprite-env"));
        assert!(fs::read_link(places.path().join("sprite-console")).is_err());
        write_policy(home.path(), &NetworkPolicy::default()).unwrap();
        let policy = fs::read_to_string(home.path().join("policy/network.json")).unwrap();
        assert_eq!(serde_json::from_str::<NetworkPolicy>(&policy).unwrap(), NetworkPolicy::default());
    }
}
