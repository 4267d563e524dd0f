//! What the server says to a machine process: calls over its socket, and the machine's specification.

use crate::MachineSpec;
use crate::machine::control::{Call, MAX_LINE};
use std::io::{BufRead, BufReader, Read};

/// A line on `control.sock`.
pub fn control(data: &[u8]) {
    let mut line = Vec::new();
    BufReader::new(data).take(MAX_LINE).read_until(b'\n', &mut line).expect("bytes can be read");
    assert!(line.len() as u64 <= MAX_LINE);
    let Ok(call) = serde_json::from_slice::<Call>(&line) else { return };
    // What was understood is said the same way again.
    let said = serde_json::to_vec(&call).expect("a call has a form");
    let again: Call = serde_json::from_slice(&said).expect("what this program says it understands");
    assert_eq!(said, serde_json::to_vec(&again).expect("a call has a form"));
}

/// A machine's specification.
pub fn spec(data: &[u8]) {
    let Ok(spec) = serde_json::from_slice::<MachineSpec>(data) else { return };
    if spec.check().is_err() {
        return;
    }
    // What passes is harmless on the kernel's command line and among QEMU's words.
    let line = crate::kvm::fuzzing::command_line(&spec);
    assert!(line.len() < 2048, "the kernel's command line is too long");
    assert!(line.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{line:?}");
    assert!(!line.contains('"'), "{line:?}");
    let words = spec.command_line();
    assert_eq!(words.split(' ').count(), 3, "{words:?}");
    assert!(words.split(' ').all(|word| word.starts_with("sprite.")), "{words:?}");
    for path in [&spec.kernel, &spec.modules, &spec.volume, &spec.memory, &spec.run_dir] {
        let path = path.to_str().expect("JSON holds text");
        assert!(path.starts_with('/') && !path.contains([',', '\n', '\0']), "{path:?}");
    }
    assert!((1..=64).contains(&spec.cpus) && (128..=1 << 20).contains(&spec.memory_mb));
    let said = serde_json::to_vec_pretty(&spec).expect("a specification has a form");
    assert!(said.len() < 64 << 10 || data.len() > 32 << 10, "what is written could not be read");
    let again: MachineSpec = serde_json::from_slice(&said).expect("what is written can be read");
    assert_eq!(spec, again);
}
