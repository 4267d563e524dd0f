//! Names of sprites.

use std::fmt;

/// Longest name: with the URL's suffix it must still be one DNS label.
pub const MAX_LEN: usize = 57;

/// Why a name was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// No character at all.
    Empty,
    /// More than [`MAX_LEN`] characters.
    TooLong,
    /// A character outside `a-z`, `0-9` and `-`.
    BadCharacter(char),
    /// Begins or ends with `-`.
    EdgeHyphen,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "a sprite needs a name"),
            Self::TooLong => write!(f, "the name is longer than {MAX_LEN} characters"),
            Self::BadCharacter(c) => {
                write!(f, "the name holds {c:?}; use lower-case letters, digits and hyphens only")
            }
            Self::EdgeHyphen => write!(f, "the name must begin and end with a letter or digit"),
        }
    }
}

impl std::error::Error for NameError {}

/// Checks a sprite's name: 1 to 57 characters of `[a-z0-9-]`, first and last alphanumeric.
pub fn check(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if let Some(bad) = name.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
        return Err(NameError::BadCharacter(bad));
    }
    if name.len() > MAX_LEN {
        return Err(NameError::TooLong);
    }
    if name.starts_with('-') || name.ends_with('-') {
        return Err(NameError::EdgeHyphen);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule() {
        assert_eq!(check("my-sprite-2"), Ok(()));
        assert_eq!(check(&"a".repeat(57)), Ok(()));
        assert_eq!(check(&"a".repeat(58)), Err(NameError::TooLong));
        assert_eq!(check(""), Err(NameError::Empty));
        assert_eq!(check("-a"), Err(NameError::EdgeHyphen));
        assert_eq!(check("A"), Err(NameError::BadCharacter('A')));
        assert_eq!(check("../x"), Err(NameError::BadCharacter('.')));
    }
}
