//! Builds an image into a folder: `cargo run -p vmm-image --example build -- FOLDER`.

use std::io::Write;
use vmm_image::{Cancel, Config, ImageStore};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = std::env::args_os().nth(1).ok_or("usage: build FOLDER")?;
    let mut shown = String::new();
    let image = ImageStore::open(root)?.build(
        &Config::default(),
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
