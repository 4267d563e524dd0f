//! This host's QEMU, put where the lab finds it: there is none in its image, and no network to fetch one.

use crate::tasks::Result;
use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const NAME: &str = "qemu-system-x86_64";
/// What the machine model boots with.
const FIRMWARE: &str = "bios-microvm.bin";
/// What it may load besides, by version.
const MORE: [&str; 4] = ["qboot.rom", "linuxboot_dma.bin", "pvh.bin", "kvmvapic.bin"];

/// Puts it into the folder `to`, to be run where that folder is called `place`: `bin` belongs onto the search path.
pub fn put(to: &Path, place: &str) -> Result<()> {
    let qemu = find()?;
    let [bin, lib, share] = ["bin", "lib", "share"].map(|name| to.join(name));
    for folder in [&bin, &lib, &share] {
        fs::create_dir_all(folder)?;
    }
    fs::copy(&qemu, lib.join(NAME))?;
    let mut loader = None;
    for library in libraries(&qemu)? {
        let name = library.file_name().ok_or("a library has no name")?.to_owned();
        fs::copy(&library, lib.join(&name))?;
        if name.to_string_lossy().starts_with("ld-linux") {
            loader = Some(name);
        }
    }
    let loader = loader.ok_or("QEMU names no loader of libraries")?;
    firmware(&qemu, &share)?;
    // Its own loader, because the lab's may be older than its libraries.
    let script = format!(
        "#!/bin/sh\nexec {place}/lib/{} --library-path {place}/lib {place}/lib/{NAME} -L {place}/share \"$@\"\n",
        loader.to_string_lossy()
    );
    fs::write(bin.join(NAME), script)?;
    for program in [bin.join(NAME), lib.join(&loader), lib.join(NAME)] {
        fs::set_permissions(program, Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn find() -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|dir| dir.join(NAME)).find(|path| path.is_file());
    found.ok_or_else(|| format!("{NAME} is not on the search path").into())
}

/// All that it is linked with, the loader too.
fn libraries(qemu: &Path) -> Result<Vec<PathBuf>> {
    let told = Command::new("ldd").arg(qemu).output()?;
    let text = String::from_utf8(told.stdout)?;
    if let Some(lost) = text.lines().find(|line| line.contains("not found")) {
        return Err(format!("QEMU lacks a library: {}", lost.trim()).into());
    }
    Ok(paths(&text))
}

/// The paths in what `ldd` says: `name => path (address)`, or `path (address)` for the loader; the kernel's own library has none.
fn paths(text: &str) -> Vec<PathBuf> {
    text.lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from))
        .collect()
}

/// Copies the firmware from the folders in which QEMU itself looks, in that order.
fn firmware(qemu: &Path, to: &Path) -> Result<()> {
    let told = Command::new(qemu).args(["-L", "help"]).output()?;
    let text = String::from_utf8(told.stdout)?;
    for name in [FIRMWARE].iter().chain(&MORE) {
        let found = text.lines().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file());
        match found {
            Some(path) => drop(fs::copy(path, to.join(name))?),
            None if *name == FIRMWARE => {
                return Err(format!("QEMU's {FIRMWARE} is in none of its folders").into());
            }
            None => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ldd_says() {
        let text = "\tlinux-vdso.so.1 (0x00007efc0f280000)\n\tlibm.so.6 => /lib/libm.so.6 (0x00007f8c9d57a000)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f8c9f9af000)\n";
        let both = ["/lib/libm.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(paths(text), both);
    }
}
