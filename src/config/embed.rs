//! `[embed]`: who may show the notebooks in frames.

use super::PublicUrl;
use super::file::ConfigFile;
use super::jwt::is_loopback;
use super::origin::click_origin;
use super::parse::one_of;

const COOKIES: [(&str, EmbedCookies); 3] =
    [("lax", EmbedCookies::Lax), ("none", EmbedCookies::None), ("partitioned", EmbedCookies::Partitioned)];

/// `[embed]`.
#[derive(Debug, Clone)]
pub struct Embed {
    /// Origins of the pages that may have frames with the hub and its servers in them.
    pub frame_ancestors: Vec<String>,
    /// How cookies are made to work there.
    pub cookies: EmbedCookies,
}

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

/// `[embed]`, if there is one: `Some(None)` is none, `None` a bad one.
#[allow(clippy::option_option)] // the outer one is that of every reader: a fault has been noted
pub(super) fn embed(file: &mut ConfigFile, public: Option<&PublicUrl>) -> Option<Option<Embed>> {
    if !file.has_section("embed") {
        return Some(None);
    }
    let ancestors =
        file.list("embed.frame_ancestors", Vec::new(), |text| click_origin(text).map(|_| text.to_owned()));
    if ancestors.as_ref().is_some_and(Vec::is_empty) {
        file.fault(
            "embed.frame_ancestors",
            "is required in [embed]; write the origins of the pages with the frames, for example \
             [\"https://lms.example.org\"]",
        );
    }
    let cookies = file.value("embed.cookies", EmbedCookies::Lax, one_of(&COOKIES));
    let is_kept = |public: &PublicUrl| {
        public.secure || url::Url::parse(&public.origin).is_ok_and(|url| is_loopback(&url))
    };
    if matches!(cookies, Some(EmbedCookies::None | EmbedCookies::Partitioned)) && !public.is_none_or(is_kept)
    {
        file.fault(
            "embed.cookies",
            "needs a public.url of https: browsers keep such cookies from no other; or write \"lax\", which does for \
             frames of the same site",
        );
    }
    Some(Some(Embed { frame_ancestors: ancestors?, cookies: cookies? }))
}
