//! What the emulator wants to tell the outside.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alacritty_terminal::event::{Event, EventListener};
use alacritty_terminal::vte::ansi::Rgb;

use crate::console::MAX_REPLY_BYTES;
use crate::palette::{self, DefaultColors};

/// What the emulator wants to tell the outside.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    replies: Vec<u8>,
    /// `Some` when the title changed: the new one, or none.
    title: Option<Option<String>>,
    bell: bool,
    defaults: DefaultColors,
}

impl Outbox {
    /// Adds a reply, unless this call's share is used up. Replies are kept whole: half of one would be garbage as input.
    pub(crate) fn reply(&mut self, text: &str) {
        if self.replies.len() + text.len() <= MAX_REPLY_BYTES {
            self.replies.extend_from_slice(text.as_bytes());
        }
    }

    pub(crate) fn take_replies(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.replies)
    }

    pub(crate) fn take_title(&mut self) -> Option<Option<String>> {
        self.title.take()
    }

    pub(crate) fn take_bell(&mut self) -> bool {
        std::mem::take(&mut self.bell)
    }

    pub(crate) fn set_defaults(&mut self, foreground: Rgb, background: Rgb) {
        self.defaults = DefaultColors { foreground, background };
    }
}

/// The shared end of the outbox. The emulator calls it through a shared reference, so it needs a lock; it is never contended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listener(Arc<Mutex<Outbox>>);

impl Listener {
    pub(crate) fn outbox(&self) -> MutexGuard<'_, Outbox> {
        // The outbox holds plain data that is whole between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventListener for Listener {
    fn send_event(&self, event: Event) {
        match event {
            Event::PtyWrite(text) => self.outbox().reply(&text),
            Event::Title(title) => self.outbox().title = Some(Some(title)),
            Event::ResetTitle => self.outbox().title = Some(None),
            Event::Bell => self.outbox().bell = true,
            Event::ColorRequest(index, answer) => {
                let mut outbox = self.outbox();
                let text = answer(palette::color(index, outbox.defaults));
                outbox.reply(&text);
            }
            // These are dealt with before they come here.
            Event::TextAreaSizeRequest(_) | Event::ClipboardStore(..) | Event::ClipboardLoad(..) => {}
            Event::MouseCursorDirty
            | Event::CursorBlinkingChange
            | Event::Wakeup
            | Event::Exit
            | Event::ChildExit(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_kept_whole_and_bounded() {
        let mut outbox = Outbox::default();
        for _ in 0..10_000 {
            outbox.reply("12345678901");
        }
        let replies = outbox.take_replies();
        assert!(replies.len() <= MAX_REPLY_BYTES);
        assert_eq!(replies.len() % 11, 0);
        assert!(outbox.take_replies().is_empty());
    }
}
