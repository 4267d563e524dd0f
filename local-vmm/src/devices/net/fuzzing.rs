//! What fuzzing sees of the device's inside.

use super::{HELD, MAX_FRAME, Net};

impl Net {
    /// That nothing here is more than it may be: frames for the peer, and one frame of the peer's between two lengths.
    pub(crate) fn check(&self) {
        let link = self.link();
        assert!(link.held() <= HELD, "{} bytes are kept for the peer", link.held());
        assert!(link.waiting() <= 4 + MAX_FRAME + 4, "{} bytes are kept for the guest", link.waiting());
    }

    /// Whether nothing is kept for the peer.
    pub(crate) fn is_flushed(&self) -> bool {
        self.link().held() == 0
    }
}
