//! Where links are kept: whether they survive, and whether what keeps them may be trusted with them.

use super::{Deployment, Finding};
use crate::store::{self, StoreGrade};

pub(super) fn examine(deployment: &Deployment) -> Vec<Finding> {
    let store = &deployment.config.store;
    let tried = format!("the token store ({})", store.url.kind());
    let change = "see [store] in config/reference.toml";
    let finding = |found: store::StoreFinding| match found.grade {
        StoreGrade::Good => Finding::ok(&tried, found.text),
        StoreGrade::Unwise => Finding::warn(&tried, found.text, change),
        StoreGrade::Unsafe => Finding::not_safe(&tried, found.text, change),
    };
    store::inspect(store, &deployment.clock).into_iter().map(finding).collect()
}
