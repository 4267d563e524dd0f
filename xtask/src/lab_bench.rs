//! `cargo xtask bench --lab`: our monitor against QEMU on the same real KVM, that of the lab (`local-vmm/examples/kvm_bench`).
//!
//! Both are in the same boot of the lab and take turns there, so what counts are ratios: everything is some fifty times slower than on hardware.

use crate::bench::{Figure, head};
use crate::host::{self, For};
use crate::lab::{self, PROFILE};
use crate::lab_qemu;
use crate::tasks::{self, Result, root};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// What is measured is built as users get it.
const RELEASE: &str = "release";

/// Boots the lab once, measures there all parts whose name contains `filter`, and prints the table. A figure outside its limit is told, not an
/// error; a part that could not be measured is one.
pub fn bench(filter: Option<&str>) -> Result<()> {
    let filter = filter.unwrap_or_default();
    if !filter.chars().all(|letter| letter.is_ascii_alphanumeric()) {
        return Err(format!("{filter:?} is no name of a part: they are single words").into());
    }
    host::prepare(For::Test)?;
    let image = lab::newest(&tasks::test_images()?)?;
    let target = root().join("target/lab");
    let init = lab::build(&target, PROFILE, &["build", "-p", "xtask", "--bin", "lab-init"])?;
    // Not at once: for examples some dependencies have features that users do not get.
    let machine = lab::build(&target, RELEASE, &["build", "-p", "local-vmm", "--bin", "local-vmm"])?;
    let program = lab::build(&target, RELEASE, &["build", "-p", "local-vmm", "--example", "kvm_bench"])?;

    let stage = target.join("bench");
    let _ = fs::remove_dir_all(&stage);
    fs::create_dir_all(stage.join("bin"))?;
    fs::create_dir(stage.join("tmp"))?;
    for (made, name) in [(&machine, "local-vmm"), (&program, "kvm_bench")] {
        lab::strip(&lab::program(made, name)?.executable, &stage.join("bin").join(name))?;
    }
    lab_qemu::put(&stage.join("qemu"), "/lab/qemu")?;
    lab::copy_image(&image, &stage.join("images"))?;
    let script = format!(
        "set -u\nip link set lo up\n\
         export SPRITES_TEST_IMAGES=/lab/images TMPDIR=/lab/tmp PATH=\"/lab/qemu/bin:$PATH\"\n\
         exec /lab/bin/kvm_bench /lab/bin/local-vmm '{filter}' </dev/null 2>&1\n"
    );
    fs::write(stage.join("run"), script)?;
    let (disk, list) = (target.join("bench.ext4"), target.join("nothing"));
    lab::make_disk(&stage, &disk)?;
    lab::write_list(&list, &[])?;
    lab::make_ready()?;

    head();
    let mut lab = lab::lab_with(&image, lab::program(&init, "lab-init")?, &disk, &list);
    let mut child = lab.stdout(Stdio::piped()).spawn()?;
    let mut words = Vec::new();
    for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()) {
        let line = line?;
        match figure(&line) {
            Some(figure) => figure.show(),
            None => words.push(line),
        }
    }
    let status = child.wait()?;
    if status.success() {
        return Ok(());
    }
    println!("{}", words.join("\n"));
    Err(format!("measuring in the lab failed ({status}); the lines above tell how far it got").into())
}

/// The figure in a line of the lab's console, before which the kernel may have put a word of its own.
fn figure(line: &str) -> Option<Figure> {
    Figure::read(line[line.find('{')?..].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_among_other_lines() {
        let line = r#"{"name":"boot","value":1.5,"unit":"ms","ratio":null,"limit":null}"#;
        assert!(figure(line).is_some());
        assert!(figure(&format!("[    7.1] some word {line}\r")).is_some());
        assert!(figure("boot, attempt 1").is_none());
        assert!(figure("{ not one }").is_none());
    }
}
