//! The module archive: the first part of a machine's initramfs (the agent is the second, added by the machine).

use crate::{Error, Result};
use cpio::newc::{Builder, ModeFileType, trailer};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Folder of the archive that holds the modules.
pub const MODULES_DIR: &str = "modules";
/// File of the archive that names the modules, one file name a line, in the order they must be loaded.
pub const MODULES_ORDER: &str = "modules/order";
/// File of the archive that names in the same way those that are loaded when they are first needed, each followed by its parameters.
pub const MODULES_LATER: &str = "modules/later";

/// A module to put into the archive.
pub(crate) struct Module {
    /// File name, `ext4.ko`.
    pub file: String,
    /// The uncompressed object.
    pub content: Vec<u8>,
    /// Parameters of one that is loaded when it is first needed; none for those that every machine begins with.
    pub later: Option<&'static str>,
}

/// Writes the archive (cpio, newc format; kernel documentation `driver-api/early-userspace/buffer-format`).
pub(crate) fn write(path: &Path, modules: &[Module]) -> Result<()> {
    let failed = || Error::io("write", path);
    let mut out = BufWriter::new(File::create(path).map_err(failed())?);
    let folder = Builder::new(MODULES_DIR).mode(0o755).set_mode_file_type(ModeFileType::Directory).nlink(2);
    folder.write(&mut out, 0).finish().map_err(failed())?;
    let (mut order, mut later) = (String::new(), String::new());
    for module in modules {
        file(&mut out, &format!("{MODULES_DIR}/{}", module.file), &module.content).map_err(failed())?;
        match module.later {
            None => order.push_str(&format!("{}\n", module.file)),
            Some(parameters) => later.push_str(&format!("{} {parameters}\n", module.file)),
        }
    }
    file(&mut out, MODULES_LATER, later.as_bytes()).map_err(failed())?;
    file(&mut out, MODULES_ORDER, order.as_bytes()).map_err(failed())?;
    trailer(&mut out).map_err(failed())?;
    out.into_inner().map_err(|error| failed()(error.into_error()))?.sync_all().map_err(failed())
}

fn file(out: &mut impl Write, name: &str, content: &[u8]) -> std::io::Result<()> {
    let size = u32::try_from(content.len())
        .map_err(|_| std::io::Error::other("a kernel module of more than 4 GB"))?;
    let mut entry =
        Builder::new(name).mode(0o644).set_mode_file_type(ModeFileType::Regular).nlink(1).write(out, size);
    entry.write_all(content)?;
    entry.finish().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn archive_holds_modules_and_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("modules.cpio");
        let module =
            |file: &str, later| Module { file: file.into(), content: file.as_bytes().to_vec(), later };
        write(&path, &[module("b.ko", None), module("a.ko", None), module("c.ko", Some("x=1"))]).unwrap();
        let mut seen = Vec::new();
        let mut source = File::open(&path).unwrap();
        loop {
            let mut reader = cpio::newc::Reader::new(source).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            let name = reader.entry().name().to_owned();
            let mut content = String::new();
            reader.read_to_string(&mut content).unwrap();
            seen.push((name, content));
            source = reader.finish().unwrap();
        }
        let names: Vec<&str> = seen.iter().map(|(name, _)| name.as_str()).collect();
        let kept =
            ["modules", "modules/b.ko", "modules/a.ko", "modules/c.ko", "modules/later", "modules/order"];
        assert_eq!(names, kept);
        assert_eq!((seen[4].1.as_str(), seen[5].1.as_str()), ("c.ko x=1\n", "b.ko\na.ko\n"));
    }
}
