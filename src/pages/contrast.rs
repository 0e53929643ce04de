//! Holds the colours of the style against the contrast that WCAG 2.2 asks for at level AA.

use super::theme::OUR_STYLE as STYLE;

/// What is written on what, and the least ratio: 4.5 for text (WCAG § 1.4.3), 3 for signs and borders (§ 1.4.11).
const PAIRS: [(&str, &str, f64); 15] = [
    ("text", "card", 4.5),
    ("text", "field", 4.5),
    ("soft", "card", 4.5),
    ("soft", "ground", 4.5),
    ("on-accent", "accent", 4.5),
    ("on-accent", "accent-over", 4.5),
    ("accent", "card", 4.5),
    ("accent-over", "card", 4.5),
    ("accent", "ground", 3.0),
    ("accent", "field", 3.0),
    ("soft", "field", 4.5),
    ("person", "card", 3.0),
    ("link", "card", 3.0),
    ("clock", "card", 3.0),
    ("line", "card", 3.0),
];

fn colour(scheme: &str, name: &str) -> [u8; 3] {
    let (_, rest) = scheme.split_once(&format!("--{name}: #")).unwrap_or_else(|| panic!("no {name}"));
    let digits = rest.split_once(';').unwrap().0;
    let digits = match digits.len() {
        3 => digits.chars().flat_map(|digit| [digit, digit]).collect(),
        _ => digits.to_owned(),
    };
    [0, 2, 4].map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
}

/// WCAG 2.2, "relative luminance".
fn luminance(colour: [u8; 3]) -> f64 {
    let linear = |part: u8| {
        let part = f64::from(part) / 255.0;
        if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    };
    let [red, green, blue] = colour.map(linear);
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

#[test]
fn everything_can_be_read_in_light_and_in_dark() {
    let (light, dark) = STYLE.split_once("prefers-color-scheme: dark").unwrap();
    for (scheme, colours) in [("light", light), ("dark", dark)] {
        for (front, back, least) in PAIRS {
            let (a, b) = (luminance(colour(colours, front)), luminance(colour(colours, back)));
            let ratio = (a.max(b) + 0.05) / (a.min(b) + 0.05);
            assert!(ratio >= least, "{scheme}: {front} on {back} is {ratio:.2}, below {least}");
        }
    }
}
