//! Taking kernel and modules out of Debian's kernel package.

use crate::archive::Module;
use crate::{Error, Result};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Modules a machine needs: its bus, disk, vsock, randomness, network, balloon and file systems. Those built into the kernel and
/// those they depend on are found by themselves.
const NEEDED: &[&str] = &[
    "virtio_mmio",
    "virtio_blk",
    "crc32c_generic",
    "ext4",
    "vmw_vsock_virtio_transport",
    "virtio_rng",
    "virtio_net",
    "virtio_balloon",
];

/// What it needs to show checkpoints, and with which parameters; loaded when there is one to show, and missed by nobody else.
const LATER: &[(&str, &str)] = &[("autofs4", ""), ("nbd", "nbds_max=16"), ("fuse", "")];

/// What a machine that runs machines needs besides.
const NESTED: &[&str] = &["kvm_amd"];

/// An unpacked kernel package.
pub(crate) struct Kernel {
    root: PathBuf,
    /// `6.1.0-40-cloud-amd64`.
    pub version: String,
}

impl Kernel {
    /// Finds the kernel in `root`, the folder the package was unpacked into.
    pub(crate) fn find(root: &Path) -> Result<Self> {
        let boot = root.join("boot");
        let version = fs::read_dir(&boot)
            .map_err(Error::io("read", &boot))?
            .flatten()
            .find_map(|entry| Some(entry.file_name().to_str()?.strip_prefix("vmlinuz-")?.to_owned()))
            .ok_or_else(|| Error::Kernel { what: "kernel image".into() })?;
        Ok(Self { root: root.to_owned(), version })
    }

    /// The kernel image.
    pub(crate) fn image(&self) -> PathBuf {
        self.root.join("boot").join(format!("vmlinuz-{}", self.version))
    }

    /// The needed modules, each after those it depends on; with `nested` those for machines within the machine too.
    pub(crate) fn modules(&self, nested: bool) -> Result<Vec<Module>> {
        let dir = self.root.join("lib/modules").join(&self.version);
        let mut files = HashMap::new();
        collect(&dir.join("kernel"), &mut files)?;
        let builtin_list = dir.join("modules.builtin");
        let builtin: HashSet<String> = fs::read_to_string(&builtin_list)
            .map_err(Error::io("read", &builtin_list))?
            .lines()
            .filter_map(|line| module_name(line.rsplit('/').next()?))
            .collect();
        let mut order = Vec::new();
        let mut visited = HashSet::new();
        for name in NEEDED.iter().chain(if nested { NESTED } else { &[] }) {
            visit(name, &files, &builtin, &mut visited, &mut order)?;
        }
        for (name, parameters) in LATER.iter().filter(|(name, _)| files.contains_key(*name)) {
            let known = order.len();
            visit(name, &files, &builtin, &mut visited, &mut order)?;
            order[known..].iter_mut().for_each(|module| module.later = Some(""));
            if let Some(module) = order[known..].last_mut() {
                module.later = Some(parameters);
            }
        }
        Ok(order)
    }
}

/// Maps module names to files below `dir`.
fn collect(dir: &Path, files: &mut HashMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(Error::io("read", dir))? {
        let entry = entry.map_err(Error::io("read", dir))?;
        let kind = entry.file_type().map_err(Error::io("read", entry.path()))?;
        if kind.is_dir() {
            collect(&entry.path(), files)?;
        } else if let Some(name) = entry.file_name().to_str().and_then(module_name) {
            files.insert(name, entry.path());
        }
    }
    Ok(())
}

/// `virtio-rng.ko.xz` is the module `virtio_rng`.
fn module_name(file: &str) -> Option<String> {
    let (stem, _) = file.split_once(".ko")?;
    Some(stem.replace('-', "_"))
}

fn visit(
    name: &str,
    files: &HashMap<String, PathBuf>,
    builtin: &HashSet<String>,
    visited: &mut HashSet<String>,
    order: &mut Vec<Module>,
) -> Result<()> {
    if builtin.contains(name) || !visited.insert(name.to_owned()) {
        return Ok(());
    }
    let path = files.get(name).ok_or_else(|| Error::Kernel { what: format!("module {name}") })?;
    let content = read_module(path)?;
    for dependency in depends(&content) {
        visit(&dependency, files, builtin, visited, order)?;
    }
    order.push(Module { file: format!("{name}.ko"), content, later: None });
    Ok(())
}

/// Newer Debian releases compress modules; the agent loads plain ones.
fn read_module(path: &Path) -> Result<Vec<u8>> {
    let unpacker = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => ("xz", "xz-utils"),
        Some("zst") => ("zstd", "zstd"),
        _ => return fs::read(path).map_err(Error::io("read", path)),
    };
    let output = Command::new(unpacker.0)
        .arg("-dc")
        .arg(path)
        .output()
        .map_err(|_| Error::MissingTool { tool: unpacker.0, package: unpacker.1 })?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(Error::Kernel { what: format!("readable {}", path.display()) })
    }
}

/// Names of the modules this one needs, from the `depends=` entry of its `.modinfo` section. The section is a list of
/// NUL-terminated `key=value` strings, so that the entry is preceded by a NUL or by the section's first byte; no other part of
/// a module has this form, and an entry found by mistake would name a module that does not exist, which is an error.
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let value = &module[at + KEY.len()..];
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(0);
    String::from_utf8_lossy(&value[..end])
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(modules: &[(&str, &str)], builtin: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("lib/modules/6.1-x/kernel/drivers");
        fs::create_dir_all(&tree).unwrap();
        fs::create_dir_all(dir.path().join("boot")).unwrap();
        fs::write(dir.path().join("boot/vmlinuz-6.1-x"), "kernel").unwrap();
        fs::write(dir.path().join("lib/modules/6.1-x/modules.builtin"), builtin).unwrap();
        for (name, needs) in modules {
            fs::write(tree.join(name), format!("ELF\0license=GPL\0depends={needs}\0name=x\0")).unwrap();
        }
        dir
    }

    #[test]
    fn dependencies_come_first_and_once() {
        let dir = package(
            &[
                ("virtio_mmio.ko", "virtio,virtio_ring"),
                ("virtio.ko", ""),
                ("virtio_ring.ko", "virtio"),
                ("ext4.ko", "jbd2,mbcache"),
                ("jbd2.ko", ""),
                ("mbcache.ko", ""),
                ("vmw_vsock_virtio_transport.ko", "vsock"),
                ("vsock.ko", ""),
                ("crc32c_generic.ko", ""),
                ("virtio_net.ko", "net-failover"),
                ("net_failover.ko", ""),
                ("virtio_balloon.ko", "virtio,virtio_ring"),
            ],
            "kernel/drivers/virtio_blk.ko\nkernel/drivers/virtio-rng.ko\n",
        );
        let kernel = Kernel::find(dir.path()).unwrap();
        assert_eq!(kernel.version, "6.1-x");
        let order: Vec<String> =
            kernel.modules(false).unwrap().into_iter().map(|module| module.file).collect();
        let place = |name: &str| order.iter().position(|file| file == name).unwrap();
        assert!(
            place("virtio.ko") < place("virtio_ring.ko") && place("virtio_ring.ko") < place("virtio_mmio.ko")
        );
        assert!(place("jbd2.ko") < place("ext4.ko") && place("net_failover.ko") < place("virtio_net.ko"));
        assert_eq!(order.len(), 12);
    }

    #[test]
    fn a_missing_module_is_named() {
        let dir = package(&[("virtio_mmio.ko", "")], "");
        let error = Kernel::find(dir.path()).unwrap().modules(false).err().unwrap();
        assert!(error.to_string().contains("module virtio_blk"), "{error}");
    }
}
