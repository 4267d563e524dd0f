//! How well colours can be told apart (Web Content Accessibility Guidelines 2.2, "contrast ratio" and "relative luminance").

use super::Theme;
use ratatui::style::Color;

/// Least contrast of text (WCAG 2.2, 1.4.3).
pub const TEXT: f64 = 4.5;
/// Least contrast of frames and graphs (WCAG 2.2, 1.4.11).
pub const SHAPE: f64 = 3.0;

/// The sixteen colours as xterm has them; most terminals' are near.
const SIXTEEN: [[u8; 3]; 16] = [
    [0, 0, 0],
    [205, 0, 0],
    [0, 205, 0],
    [205, 205, 0],
    [0, 0, 238],
    [205, 0, 205],
    [0, 205, 205],
    [229, 229, 229],
    [127, 127, 127],
    [255, 0, 0],
    [0, 255, 0],
    [255, 255, 0],
    [92, 92, 255],
    [255, 0, 255],
    [0, 255, 255],
    [255, 255, 255],
];
/// Steps of the cube of 216 colours that follows them.
const CUBE: [u8; 6] = [0, 95, 135, 175, 215, 255];

impl Theme {
    /// What the text's colour is as red, green and blue, where the theme leaves the terminal its own too.
    pub fn foreground(&self, color: Option<Color>) -> [u8; 3] {
        rgb(color.or(self.text)).unwrap_or(if self.dark { SIXTEEN[7] } else { SIXTEEN[0] })
    }

    /// The same of what is behind it.
    pub fn behind(&self, color: Option<Color>) -> [u8; 3] {
        rgb(color.or(self.background)).unwrap_or(if self.dark { SIXTEEN[0] } else { SIXTEEN[15] })
    }

    /// What in it is hard to read, a sentence each.
    pub fn faint(&self) -> Vec<String> {
        let words = [
            ("text", self.text),
            ("dim", self.dim),
            ("accent", self.accent),
            ("good", self.good),
            ("warn", self.warn),
            ("bad", self.bad),
        ];
        let shapes = [
            ("border", self.border),
            ("cpu", self.cpu),
            ("memory", self.memory),
            ("cost", self.cost),
            ("network", self.network),
            ("disk", self.disk),
        ];
        let roles = words.map(|role| (role, TEXT)).into_iter().chain(shapes.map(|role| (role, SHAPE)));
        let mut faint = Vec::new();
        for ((role, color), least) in roles.filter(|((_, color), _)| color.is_some()) {
            let grounds = [("background", Some(self.background)), ("selection", self.selection.map(Some))];
            for (ground, behind) in grounds.into_iter().filter_map(|(name, color)| Some((name, color?))) {
                // Nothing of a frame is ever selected.
                let ratio = ratio(self.foreground(color), self.behind(behind));
                if ratio < least && (role, ground) != ("border", "selection") {
                    faint.push(format!(
                        "{role} on {ground} has a contrast of {ratio:.1}; {least} can be read"
                    ));
                }
            }
        }
        faint
    }
}

/// The contrast of two colours, from 1 to 21.
pub fn ratio(one: [u8; 3], two: [u8; 3]) -> f64 {
    let (one, two) = (luminance(one), luminance(two));
    (one.max(two) + 0.05) / (one.min(two) + 0.05)
}

fn luminance(color: [u8; 3]) -> f64 {
    let [red, green, blue] = color.map(linear);
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

/// A channel as an amount of light.
fn linear(channel: u8) -> f64 {
    let value = f64::from(channel) / 255.0;
    if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
}

/// Red, green and blue of a colour; none of one that is the terminal's own.
pub fn rgb(color: Option<Color>) -> Option<[u8; 3]> {
    let index = match color? {
        Color::Reset => return None,
        Color::Rgb(red, green, blue) => return Some([red, green, blue]),
        Color::Black => 0,
        Color::Red => 1,
        Color::Green => 2,
        Color::Yellow => 3,
        Color::Blue => 4,
        Color::Magenta => 5,
        Color::Cyan => 6,
        Color::Gray => 7,
        Color::DarkGray => 8,
        Color::LightRed => 9,
        Color::LightGreen => 10,
        Color::LightYellow => 11,
        Color::LightBlue => 12,
        Color::LightMagenta => 13,
        Color::LightCyan => 14,
        Color::White => 15,
        Color::Indexed(index) => index,
    };
    Some(match index {
        0..16 => SIXTEEN[usize::from(index)],
        16..232 => {
            [(index - 16) / 36, (index - 16) / 6 % 6, (index - 16) % 6].map(|step| CUBE[usize::from(step)])
        }
        232.. => [8 + 10 * (index - 232); 3],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_contrasts() {
        let close = |one: f64, two: f64| (one - two).abs() < 0.01;
        assert!(close(ratio([0; 3], [255; 3]), 21.0));
        assert!(close(ratio([0x77; 3], [255; 3]), 4.48));
        assert_eq!(rgb(Some(Color::Indexed(208))), Some([255, 135, 0]));
        assert_eq!(rgb(Some(Color::Indexed(255))), Some([238; 3]));
    }

    #[test]
    fn built_in_themes_can_be_read() {
        for theme in Theme::all(None).0 {
            assert_eq!(theme.faint(), Vec::<String>::new(), "{}", theme.name);
        }
    }

    /// How a person without red (or green) receptors sees a colour (Viénot, Brettel and Mollon 1999), in linear light.
    fn seen(color: [u8; 3], red: bool) -> [f64; 3] {
        let [r, g, b] = color.map(linear);
        let mixed = if red { 0.112 * r + 0.888 * g } else { 0.293 * r + 0.707 * g };
        let lost = if red { 0.004 * r - 0.004 * g + b } else { -0.021 * r + 0.021 * g + b };
        [mixed, mixed, lost.clamp(0.0, 1.0)]
    }

    /// Distance by the eye: a root flattens light about as it does.
    fn apart(one: [f64; 3], two: [f64; 3]) -> f64 {
        let root = |value: f64| value.max(0.0).cbrt();
        one.iter().zip(two).map(|(a, b)| (root(*a) - root(b)).powi(2)).sum::<f64>().sqrt()
    }

    #[test]
    fn states_differ_for_the_colour_blind() {
        for theme in Theme::all(None).0.iter().filter(|theme| theme.name.starts_with("colour-blind")) {
            for red in [false, true] {
                let [good, warn, bad] =
                    [theme.good, theme.warn, theme.bad].map(|color| seen(theme.foreground(color), red));
                for (one, two) in [(good, warn), (good, bad), (warn, bad)] {
                    assert!(apart(one, two) > 0.15, "{} {red}: {}", theme.name, apart(one, two));
                }
            }
        }
    }
}
