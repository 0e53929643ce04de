//! APIs whose hub is of no use, and what they answer then.

use std::sync::Arc;
use std::time::Duration;

use hublatch::config::Config;

use super::{LISTED, api, with_hub};
use crate::api::client::{TestApi, Variant};
use crate::support::{FakeHub, Gate, Then};

/// The same with a hub that is soon given up: for one that does not answer at all.
fn impatient(mut config: Config) -> Config {
    config.limits.hub_api_timeout = Duration::from_millis(50);
    config
}

/// An API whose hub is of no use, and what it answers then.
pub struct BadHub {
    pub api: TestApi,
    pub status: u16,
    pub code: &'static str,
    url: String,
    _hub: Option<FakeHub>,
    _held: (Option<Arc<Gate>>, Option<socket2::Socket>),
}

impl BadHub {
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `config`, which does not wait long for a hub that is silent.
    pub fn suited(&self, config: Config) -> Config {
        if self.status == 504 { impatient(config) } else { config }
    }
}

impl Drop for BadHub {
    fn drop(&mut self) {
        if let Some(gate) = &self._held.0 {
            gate.open();
        }
    }
}

/// One that does not answer, one that answers a page, one that is not there.
pub fn bad_hubs() -> [BadHub; 3] {
    let silent = FakeHub::start();
    let gate = Arc::new(Gate::default());
    let waits = Arc::clone(&gate);
    silent.otherwise(move |_| {
        waits.pass();
        Then::Close
    });
    let script = Arc::clone(&gate);
    silent.on("/hub/api/user", move |_| {
        script.pass();
        Then::Close
    });
    let page = FakeHub::start();
    page.otherwise(|exchange| exchange.answer("200 OK\r\nContent-Type: text/html", "<html>"));
    page.on("/hub/api/user", |exchange| exchange.answer("200 OK\r\nContent-Type: text/html", "<html>"));
    let (kept, nowhere) = crate::support::hub::absent();
    let down = TestApi::with(Variant { config: with_hub(&nowhere, LISTED), ..Variant::default() });
    [
        BadHub {
            api: TestApi::with(Variant {
                config: impatient(with_hub(&silent.url(), LISTED)),
                ..Variant::default()
            }),
            status: 504,
            code: "hub_timeout",
            url: silent.url(),
            _hub: Some(silent),
            _held: (Some(gate), None),
        },
        BadHub {
            api: api(&page, LISTED),
            status: 502,
            code: "hub_error",
            url: page.url(),
            _hub: Some(page),
            _held: (None, None),
        },
        BadHub {
            api: down,
            status: 503,
            code: "hub_unavailable",
            url: nowhere,
            _hub: None,
            _held: (None, Some(kept)),
        },
    ]
}
