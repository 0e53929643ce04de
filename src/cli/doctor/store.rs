//! Where links are kept: whether they survive, and whether what keeps them may be trusted with them.

use super::{Deployment, Finding};

pub(super) fn examine(deployment: &Deployment) -> Vec<Finding> {
    let kind = deployment.config.store.url.kind();
    vec![Finding::skipped(format!("the token store ({kind})"), "/ready tells whether it works")]
}
