//! The form of a page, read and filled in as a browser does.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What `application/x-www-form-urlencoded` leaves as it is (WHATWG URL § 5.2).
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');

/// A form: where it goes, and its hidden fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// Its address.
    pub action: String,
    /// Its fields, decoded.
    pub fields: Vec<(String, String)>,
}

impl Form {
    /// The only form of the page `html`.
    pub fn on(html: &str) -> Self {
        let forms: Vec<&str> = html.split("<form ").skip(1).collect();
        let [form] = forms[..] else { panic!("{} forms on {html}", forms.len()) };
        let form = form.split("</form>").next().unwrap_or_default();
        let fields = form.split("<input ").skip(1);
        let field = |text: &str| (attribute(text, "name"), attribute(text, "value"));
        Self { action: attribute(form, "action"), fields: fields.map(field).collect() }
    }

    /// A form of the test's own.
    pub fn of(action: &str, fields: &[(&str, &str)]) -> Self {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { action: action.to_owned(), fields }
    }

    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body of its POST.
    pub fn encoded(&self) -> String {
        let encode = |text: &str| utf8_percent_encode(text, FORM).to_string().replace("%20", "+");
        let pairs: Vec<String> =
            self.fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        pairs.join("&")
    }
}

/// The value of an attribute in double quotes, its character references resolved.
fn attribute(tag: &str, name: &str) -> String {
    let begin = format!("{name}=\"");
    let value = tag.split(&begin).nth(1).and_then(|rest| rest.split('"').next());
    let value = value.unwrap_or_else(|| panic!("no {name} in {tag}"));
    let references = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&#x27;", "'"),
        ("&#39;", "'"),
        ("&#x2f;", "/"),
        ("&#13;", "\r"),
        ("&amp;", "&"),
    ];
    references
        .iter()
        .fold(value.to_owned(), |text, (reference, character)| text.replace(reference, character))
}
