//! Calls of the management API.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Answers of the management API, by app and status code. Both lists are closed: the apps are those of the configuration,
/// and nobody's name that calls by a hub token is among them.
#[derive(Debug, Default)]
pub struct ApiRequests(Family<ApiRequestLabels, Counter>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiRequestLabels {
    app: String,
    code: u32,
}

impl ApiRequests {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let requests = Self::default();
        registry.register("api_requests", "Answers of the management API", requests.0.clone());
        requests
    }

    /// Counts one answer to `app`, which is empty where nobody has proved to be one.
    pub fn count(&self, app: &str, code: u16) {
        let labels = ApiRequestLabels { app: app.to_owned(), code: code.into() };
        self.0.get_or_create(&labels).inc();
    }
}
