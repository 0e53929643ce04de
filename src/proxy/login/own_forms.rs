//! The forms of our own pages, known by their first field: without it, what a button of ours posts from a browser that does
//! not say on which page it was pressed could not be told from another site's form, and would bring the same page for ever.
//!
//! The field is no proof of anything. It only decides what whoever is not believed is told.

/// The name of the field. No application may use it.
pub const FIELD: &str = "hublatch_form";

/// Which button was pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnForm {
    /// "Continue as alice".
    Confirm,
    /// That the browser is to forget cookies.
    ForgetCookies,
}

impl OwnForm {
    /// The value of the field.
    pub const fn value(self) -> &'static str {
        match self {
            Self::Confirm => "confirm",
            Self::ForgetCookies => "forget_cookies",
        }
    }

    /// The form in `body`, and the rest of it.
    pub fn read(body: &str) -> (Option<Self>, &str) {
        let Some(text) = body.strip_prefix(FIELD).and_then(|rest| rest.strip_prefix('=')) else {
            return (None, body);
        };
        let (value, rest) = text.split_once('&').unwrap_or((text, ""));
        match [Self::Confirm, Self::ForgetCookies].into_iter().find(|form| form.value() == value) {
            Some(form) => (Some(form), rest),
            None => (None, body),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_of_ours_is_known_by_its_first_field_alone() {
        for form in [OwnForm::Confirm, OwnForm::ForgetCookies] {
            let body = format!("{FIELD}={}&login_token=x", form.value());
            assert_eq!(OwnForm::read(&body), (Some(form), "login_token=x"));
            assert_eq!(OwnForm::read(&format!("{FIELD}={}", form.value())), (Some(form), ""));
            let last = format!("login_token=x&{FIELD}={}", form.value());
            assert_eq!(OwnForm::read(&last), (None, last.as_str()));
        }
        for body in ["", "hublatch_form=other&a", "hublatch_forms=confirm", "hublatch_form"] {
            assert_eq!(OwnForm::read(body), (None, body));
        }
    }
}
