//! Landlock: only the machine's own folders, no sockets to the network, no signals to others.

use super::JailError;
use super::root::{DEVICES, PROC, SYSTEM};
use crate::{Kind, MachineSpec};
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use std::path::Path;

/// What a kernel of 2024 knows; older ones enforce what they know.
const KNOWN: ABI = ABI::V6;

pub(super) fn restrict(spec: &MachineSpec) -> Result<(), JailError> {
    match rules(spec) {
        Ok(RulesetStatus::FullyEnforced) => Ok(()),
        Ok(status) => {
            tracing::warn!("this kernel's Landlock does not know all rules ({status:?}); other walls hold");
            Ok(())
        }
        Err(error) => Err(JailError::of("shut off the file system")(&error)),
    }
}

fn rules(spec: &MachineSpec) -> Result<RulesetStatus, RulesetError> {
    let (all, read) = (AccessFs::from_all(KNOWN), AccessFs::from_read(KNOWN));
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .handle_access(AccessNet::from_all(KNOWN))?
        .scope(Scope::from_all(KNOWN))?
        .create()?;
    let inside = spec.inside();
    let own = [spec.volume.as_path(), spec.memory.as_path(), inside.as_path()];
    // Sockets are made here; devices, programs and links that lead elsewhere are not.
    let strange = AccessFs::MakeBlock | AccessFs::MakeChar | AccessFs::MakeSym | AccessFs::IoctlDev;
    let keep = all & !(strange | AccessFs::Execute);
    let mut allowed = own.map(|path| (path, keep)).to_vec();
    allowed.extend(
        [spec.kernel.as_path(), spec.modules.as_path()].map(|path| (path, AccessFs::ReadFile.into())),
    );
    if spec.kind == Kind::Emulated {
        allowed.extend(SYSTEM.into_iter().chain([PROC]).map(|path| (Path::new(path), read)));
        let device = AccessFs::ReadFile | AccessFs::WriteFile;
        allowed.extend(DEVICES.map(|path| (Path::new(path), device)));
    }
    for (path, access) in allowed {
        // What does not exist needs no rule.
        if let Ok(fd) = PathFd::new(path) {
            let access = if path.is_dir() { access } else { access & AccessFs::from_file(KNOWN) };
            rules = rules.add_rule(PathBeneath::new(fd, access))?;
        }
    }
    Ok(rules.restrict_self()?.ruleset)
}
