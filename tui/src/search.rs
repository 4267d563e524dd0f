//! Looking for a text: in whatever case, and everything holds nothing.

/// Whether a text holds another.
pub fn holds(text: &str, wanted: &str) -> bool {
    wanted.is_empty() || text.to_lowercase().contains(&wanted.to_lowercase())
}
