#![no_main]

sprites_fuzz::target!("vsock_queues");
