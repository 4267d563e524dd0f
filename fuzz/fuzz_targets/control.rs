#![no_main]

sprites_fuzz::target!("control");
