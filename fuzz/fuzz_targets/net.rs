#![no_main]

sprites_fuzz::target!("net");
