//! Reads a page back as a browser does, as far as the tests need it.

/// What stands between `start` and the next `end`.
pub(super) fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("no {start} in {text}"));
    rest.split_once(end).unwrap_or_else(|| panic!("no {end} after {start}")).0
}

/// What is left of a page without its style and its tags: all that a person sees or hears.
pub(super) fn visible(page: &str) -> String {
    let (head, rest) = page.split_once("<style>").unwrap();
    let (_, rest) = rest.split_once("</style>").unwrap();
    let mut visible = String::new();
    for piece in format!("{head}{rest}").split('<') {
        visible.push_str(piece.split_once('>').map_or("", |(_, text)| text));
    }
    unescape(&visible)
}

/// The text that an HTML parser reads from `source`: line ends first (HTML, "preprocessing the input stream"), then
/// character references.
pub(super) fn unescape(source: &str) -> String {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut pieces = source.split('&');
    let mut text = pieces.next().unwrap().to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once(';').expect("a bare ampersand");
        let meant = match name {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "quot" => '"',
            "#x27" => '\'',
            "#x2f" => '/',
            "#13" => '\r',
            other => panic!("an unexpected reference: {other}"),
        };
        text.push(meant);
        text.push_str(rest);
    }
    text
}

/// The names and values of the hidden fields, in their order.
pub(super) fn hidden_fields(page: &str) -> Vec<(String, String)> {
    let inputs = page.split("<input type=\"hidden\" name=\"").skip(1);
    let field = |input: &str| {
        let (name, rest) = input.split_once("\" value=\"").unwrap();
        let (value, rest) = rest.split_once('"').unwrap();
        assert!(rest.starts_with('>'), "the tag ends behind the value");
        (unescape(name), unescape(value))
    };
    inputs.map(field).collect()
}
