//! The response to a request that finds nobody: no route takes its path (404), or the server of its route is not there (503).
//!
//! A person's navigation gets the hub's own page, which is fetched once in ten seconds and not once a request: a notebook
//! that hammers its dead server must not hammer the hub. A program gets JSON, and is told when to come again. A
//! WebSocket's handshake gets the bare status.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER,
};
use hyper::http::uri::PathAndQuery;
use hyper::{Request, Response, StatusCode, Uri};
use tokio::sync::Mutex;
use url::Url;

use super::Proxy;
use super::accept::AcceptHeaders;
use super::upstream::ResponseBody;
use crate::body::{RequestBody, collect};
use crate::config::RoutesConfig;
use crate::pages::{Format, Page};
use crate::routes::Target;

/// How long a page of the error target is shown, and how long it is not asked again if it has none.
const KEPT: Duration = Duration::from_secs(10);
/// How long the error target may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest page.
const PAGE_BYTES_MAX: usize = 1024 * 1024;
/// When a program may ask again.
const RETRY_AFTER_SECONDS: u16 = 5;

/// Where the pages come from.
#[derive(Debug)]
pub struct ErrorPages {
    target: Option<(Arc<Target>, Url)>,
    path: Option<PathBuf>,
    kept: Mutex<HashMap<u16, CachedPage>>,
}

#[derive(Debug, Clone)]
struct CachedPage {
    at: Instant,
    page: Option<ErrorPage>,
}

#[derive(Debug, Clone)]
struct ErrorPage {
    content_type: Option<HeaderValue>,
    content_encoding: Option<HeaderValue>,
    body: Bytes,
}

impl ErrorPages {
    /// Those that `config` names.
    pub fn of(config: &RoutesConfig) -> Self {
        let target = config.error_target.as_ref().and_then(|url| {
            // Only where it is; what is asked for is put together from the URL.
            let origin = Target::parse(&url[..url::Position::BeforePath]).ok()?;
            Some((Arc::new(origin), url.clone()))
        });
        Self { target, path: config.error_path.clone(), kept: Mutex::default() }
    }

    /// The page for `status`, if there is one: asked for at most once in ten seconds, by one request at a time.
    async fn page(&self, proxy: &Proxy, status: StatusCode, asked: &str) -> Option<ErrorPage> {
        if let Some(path) = &self.path {
            return file(path, status).await;
        }
        let (target, url) = self.target.as_ref()?;
        let mut kept = self.kept.lock().await;
        if let Some(kept) = kept.get(&status.as_u16()).filter(|kept| kept.at.elapsed() < KEPT) {
            return kept.page.clone();
        }
        let fetched = tokio::time::timeout(PATIENCE, fetch(proxy, target, url, status, asked)).await;
        let page = fetched.ok().flatten();
        // A page that repeats what was asked for is nobody else's.
        let repeats = |page: &ErrorPage| asked.len() > 1 && contains(&page.body, asked.as_bytes());
        if !page.as_ref().is_some_and(repeats) {
            kept.insert(status.as_u16(), CachedPage { at: Instant::now(), page: page.clone() });
        }
        page
    }
}

/// Answers a request for `asked`, path and query, that ends in `status`.
pub(super) async fn respond(
    proxy: &Proxy,
    status: StatusCode,
    wishes: &AcceptHeaders,
    asked: &str,
    is_upgrade: bool,
) -> Response<ResponseBody> {
    if is_upgrade {
        let mut response = bare(status);
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return response;
    }
    let path = asked.split('?').next().unwrap_or_default();
    let format = if wishes.is_script() || path.contains("/api/") { Format::Json } else { wishes.format() };
    if let (Format::Html(_), Some(routing)) = (format, &proxy.shared.routing)
        && let Some(page) = routing.errors.page(proxy, status, asked).await
    {
        let mut response = Response::new(ResponseBody::Whole(page.body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        if let Some(content_type) = page.content_type {
            headers.insert(CONTENT_TYPE, content_type);
        }
        if let Some(content_encoding) = page.content_encoding {
            headers.insert(CONTENT_ENCODING, content_encoding);
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        return response;
    }
    let page = if status == StatusCode::NOT_FOUND { Page::NotFound } else { Page::Unavailable };
    let mut response = proxy.shared.pages.response(&page, format).map(ResponseBody::Whole);
    *response.status_mut() = status;
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
    }
    response
}

fn bare(status: StatusCode) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Whole(Bytes::new()));
    *response.status_mut() = status;
    response
}

/// Asks the error target, with nothing of the client's request but where it wanted to go.
async fn fetch(
    proxy: &Proxy,
    target: &Arc<Target>,
    url: &Url,
    status: StatusCode,
    asked: &str,
) -> Option<ErrorPage> {
    let mut base = url.path().trim_end_matches('/').to_owned();
    // The command line of a hub below a base URL may leave that out: then it is asked for again where the hub is.
    for attempt in 0..2 {
        let code = status.as_u16();
        let query: String =
            url::form_urlencoded::Serializer::new(String::new()).append_pair("url", asked).finish();
        let uri = Uri::from(PathAndQuery::try_from(format!("{base}/{code}?{query}")).ok()?);
        let mut request = Request::new(RequestBody::Empty);
        *request.uri_mut() = uri;
        request.headers_mut().insert(HOST, HeaderValue::from_str(target.authority()).ok()?);
        let sent = proxy.upstream.pool(target).send(Box::new(request), None, None).await;
        let response = sent.inspect_err(|error| tracing::warn!(%error, "ask the error target")).ok()?;
        let of_hub = proxy.upstream.hub_base();
        if response.status() == StatusCode::NOT_FOUND
            && attempt == 0
            && let Some(of_hub) = of_hub.filter(|of_hub| !base.starts_with(of_hub.as_str()))
        {
            base = format!("{}{base}", of_hub.trim_end_matches('/'));
            continue;
        }
        let content_type = response.headers().get(CONTENT_TYPE).cloned();
        let content_encoding = response.headers().get(CONTENT_ENCODING).cloned();
        let body = collect(response.into_body(), PAGE_BYTES_MAX, PATIENCE).await.ok()?;
        return Some(ErrorPage { content_type, content_encoding, body });
    }
    None
}

/// `503.html`, or else `error.html`, in the folder.
async fn file(folder: &Path, status: StatusCode) -> Option<ErrorPage> {
    for name in [format!("{}.html", status.as_u16()), "error.html".to_owned()] {
        let path = folder.join(name);
        let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
        if let Ok(Ok(body)) = read {
            let content_type = Some(HeaderValue::from_static("text/html; charset=utf-8"));
            return Some(ErrorPage { content_type, content_encoding: None, body: body.into() });
        }
    }
    None
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}
