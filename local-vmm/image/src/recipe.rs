//! The two scripts of a build: one inside the new system while mmdebstrap has it open, one that turns its archive into ext4.

/// Runs as mmdebstrap's customize hook, `$1` being the new system's root.
///
/// The kernel is fetched and unpacked but not installed: a machine boots it from outside, and the packages that would
/// come with it (initramfs tools, boot loader hooks) have no use inside a sprite.
pub(crate) const CUSTOMIZE: &str = r#"set -eu
root="$1"
chroot "$root" useradd --uid 1000 --user-group --create-home --shell /bin/bash --comment Sprite sprite
printf 'sprite ALL=(ALL:ALL) NOPASSWD: ALL\n' > "$root/etc/sudoers.d/sprite"
chmod 0440 "$root/etc/sudoers.d/sprite"
printf 'LANG=C.UTF-8\n' > "$root/etc/default/locale"
printf 'sprite\n' > "$root/etc/hostname"
printf '127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n' > "$root/etc/hosts"
mkdir -p "$root/.sprite" "$root/proc" "$root/sys" "$root/dev" "$root/run" "$root/tmp"
cat > "$root/etc/profile.d/sprite.sh" <<'END'
# The prompt of a sprite: its name, the folder, and a failed command's status in red.
if [ -n "$BASH_VERSION" ] && [ -n "$PS1" ]; then
    PS1='\[\e[32m\]\h\[\e[0m\]:\[\e[34m\]\w\[\e[0m\]$(s=$?; [ $s -eq 0 ] || printf " \[\e[31m\]%s\[\e[0m\]" $s)\$ '
    case "$TERM" in xterm*|screen*|tmux*|alacritty*) PS1="\[\e]0;\h: \w\a\]$PS1" ;; esac
    alias ls='ls --color=auto'
    alias grep='grep --color=auto'
fi
END
printf '\n[ -r /etc/profile.d/sprite.sh ] && . /etc/profile.d/sprite.sh\n' >> "$root/home/sprite/.bashrc"
mkdir "$root/var/tmp/kernel"
chroot "$root" sh -eu -c '
    cd /var/tmp
    package=$(apt-cache depends linux-image-cloud-amd64 | sed -n "s/^ *Depends: //p" | grep "^linux-image-" | head -n 1)
    apt-get -o APT::Sandbox::User=root download "$package"
    dpkg-deb -x linux-image-*.deb kernel
    rm linux-image-*.deb'
# Last, because the steps before it need the host's name servers; inside a sprite the agent fills both.
rm -f "$root/etc/resolv.conf"
: > "$root/etc/resolv.conf"
: > "$root/etc/machine-id"
"#;

/// What dpkg leaves out: nobody reads manuals and translations inside a throw-away computer, and they are a third of it.
/// Copyright files stay.
pub(crate) const DPKG_OPTIONS: &[&str] = &[
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
];

/// Turns `$1/rootfs.tar` into `$1/rootfs.ext4` of `$2` GiB, leaving the kernel package in `$1/kernel`. Runs as root, or as
/// the root of a user namespace, where owners come out right without privileges.
///
/// - `discard` on a fresh sparse file lets mke2fs take inode tables for zeroed instead of writing them, and instead of
///   leaving them to the guest, whose kernel would then write gigabytes of zeros in the background.
/// - An inode for each 32 KiB is plenty for source trees and halves the tables.
pub(crate) const MAKE_EXT4: &str = r#"set -eu
work="$1"
mkdir "$work/root"
tar -C "$work/root" --numeric-owner -xpf "$work/rootfs.tar" --exclude=./dev/*
rm "$work/rootfs.tar"
mv "$work/root/var/tmp/kernel" "$work/kernel"
truncate -s "$2G" "$work/rootfs.ext4"
mke2fs -q -F -t ext4 -b 4096 -i 32768 -m 0 -L sprite -J size=64 \
    -E lazy_itable_init=0,lazy_journal_init=0,discard,root_owner=0:0 -d "$work/root" "$work/rootfs.ext4"
rm -rf "$work/root"
"#;

/// Removes what an interrupted build left; its files may belong to the namespace's users.
pub(crate) const CLEAN: &str = r#"rm -rf "$1""#;
