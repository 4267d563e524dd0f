//! Builds an image into a folder: `cargo run -p vmm-image --example build -- [--nested] [PACKAGE…] FOLDER`.

use std::io::Write;
use vmm_image::{Cancel, Config, ImageStore};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words: Vec<_> = std::env::args_os().skip(1).collect();
    let nested = words.first().is_some_and(|word| word == "--nested");
    let root = words.pop().ok_or("usage: build [--nested] [PACKAGE…] FOLDER")?;
    let packages =
        words.split_off(usize::from(nested)).into_iter().map(|word| word.to_string_lossy().into_owned());
    let mut shown = String::new();
    let image = ImageStore::open(root)?.build(
        &Config { nested, packages: packages.collect(), ..Config::default() },
        |progress| {
            let line = format!("{:3.0} % {}", progress.fraction * 100.0, progress.step);
            if line != shown {
                println!("{line}");
                let _ = std::io::stdout().flush();
                shown = line;
            }
        },
        &Cancel::new(),
    )?;
    println!("{}", image.dir().display());
    Ok(())
}
