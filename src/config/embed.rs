//! `[embed]`: who may show the notebooks in frames.

use super::kind::{list, words};
use super::origin::click_origin;
use super::table::section;

const COOKIES: [(&str, EmbedCookies); 3] =
    [("lax", EmbedCookies::Lax), ("none", EmbedCookies::None), ("partitioned", EmbedCookies::Partitioned)];

/// What is done to cookies for frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmbedCookies {
    /// Nothing: frames of the same site.
    Lax,
    /// `SameSite=None; Secure`: frames of any site.
    None,
    /// And `Partitioned`: another login for each site with a frame.
    Partitioned,
}

section! {
    /// Showing notebooks in frames of other pages. Without this section (remove the "#" to have it) the hub's own word
    /// stands, which is no.
    #[derive(Debug, Clone)]
    pub struct Embed {
        /// Origins of the pages with the frames. They are added to the Content-Security-Policy of the
        /// hub, its servers and our own pages.
        frame_ancestors: Vec<String>, list(origin).not_empty(EMPTY), required ["https://lms.example.org"];
        /// "lax": cookies stay as they are, which does if the page and the hub are of one site (lms.example.org and
        /// hub.example.org). "none": SameSite=None, for pages of any site, in browsers that allow third-party cookies.
        /// "partitioned": the same for browsers that do not (CHIPS); each site with a frame then has a login of its own.
        cookies: EmbedCookies, words(&COOKIES), default "lax";
    }
}

const EMPTY: &str = "is required in [embed]; write the origins of the pages with the frames, for example \
                     [\"https://lms.example.org\"]";

fn origin(text: &str) -> Result<String, String> {
    click_origin(text).map(|_| text.to_owned())
}
