//! Users and groups, read from `/etc/passwd` and `/etc/group`: a static executable has no other name service.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Files larger than this are not read to their end; an account beyond it does not exist for the agent.
const FILE_LIMIT: u64 = 1 << 20;

/// Who a session runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Further groups.
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
    pub(crate) shell: String,
}

impl User {
    /// The named user, else the one the agent itself runs as. The files are read each time: their owner may edit them.
    pub(crate) fn find(name: Option<&str>) -> Self {
        let passwd = read(Path::new("/etc/passwd"));
        let groups = read(Path::new("/etc/group"));
        let own = nix::unistd::geteuid().as_raw();
        name.and_then(|name| lookup(&passwd, &groups, |entry| entry.name == name))
            .or_else(|| lookup(&passwd, &groups, |entry| entry.uid == own))
            .unwrap_or_else(|| Self {
                name: if own == 0 { "root".into() } else { own.to_string() },
                uid: own,
                gid: nix::unistd::getegid().as_raw(),
                groups: Vec::new(),
                home: std::env::var("HOME").unwrap_or_else(|_| "/".into()),
                shell: "/bin/sh".into(),
            })
    }

    /// Whether a session must change user to become this one.
    pub(crate) fn is_other(&self) -> bool {
        self.uid != nix::unistd::geteuid().as_raw()
    }
}

/// The number that stands beside a name in `/etc/passwd` or `/etc/group`.
pub(crate) fn number_of(file: &Path, name: &str) -> Option<u32> {
    read(file).lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        // What could be read before an error is still worth using.
        let _ = file.take(FILE_LIMIT).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn lookup(passwd: &str, group: &str, wanted: impl Fn(&User) -> bool) -> Option<User> {
    let mut user = passwd
        .lines()
        .filter_map(|line| {
            let field: Vec<&str> = line.split(':').collect();
            let [name, _, uid, gid, _, home, shell] = field[..] else { return None };
            Some(User {
                name: name.to_owned(),
                uid: uid.parse().ok()?,
                gid: gid.parse().ok()?,
                groups: Vec::new(),
                home: if home.starts_with('/') { home.to_owned() } else { "/".into() },
                shell: if shell.starts_with('/') { shell.to_owned() } else { "/bin/sh".into() },
            })
        })
        .find(wanted)?;
    user.groups = group
        .lines()
        .filter_map(|line| {
            let field: Vec<&str> = line.split(':').collect();
            let [_, _, gid, members] = field[..] else { return None };
            members.split(',').any(|member| member == user.name).then(|| gid.parse().ok())?
        })
        // The kernel takes no more.
        .take(65_536)
        .collect();
    Some(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nbroken\nbad:x:one:1::/:/bin/sh\n\
        sprite:x:1000:1001:,,,:/home/sprite:/bin/bash\nodd:x:7:7:::\n";
    const GROUP: &str = "sudo:x:27:sprite,other\nusers:x:100:\nbroken\nmedia:x:44:a,sprite\n";

    #[test]
    fn finds_a_user_with_its_groups() {
        let user = lookup(PASSWD, GROUP, |one| one.name == "sprite").unwrap();
        assert_eq!((user.uid, user.gid), (1000, 1001));
        assert_eq!(user.groups, [27, 44]);
        assert_eq!(user.home, "/home/sprite");
        assert!(lookup(PASSWD, GROUP, |one| one.name == "bad").is_none());
        let odd = lookup(PASSWD, GROUP, |one| one.uid == 7).unwrap();
        assert_eq!((odd.home.as_str(), odd.shell.as_str()), ("/", "/bin/sh"));
    }

    #[test]
    fn the_present_user_is_always_found() {
        let user = User::find(Some("no-such-user-here"));
        assert!(!user.is_other());
    }
}
