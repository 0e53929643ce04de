//! The hub's routes: written again when we ask for it.

use reqwest::Method;

use super::{Call, HubClient, HubError};

impl HubClient {
    /// Asks the hub to compare its proxy's routes with its own, and to write what is missing (`POST /proxy`). The token
    /// needs the scope `proxy`.
    pub async fn check_routes(&self) -> Result<(), HubError> {
        let call = Call::CheckRoutes;
        self.call(call, self.authorized(call, Method::POST, &["proxy"])?).await.map(|_| ())
    }
}
