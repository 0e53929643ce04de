//! The running hublatch from inside: ready, the same version and configuration as here, and not to be had from outside.

use super::{Deployment, Finding};
use crate::cli::call::CallTarget;
use crate::cli::health;

const INFO: &str = "/api/v1/info";

pub(super) async fn examine(deployment: &Deployment) -> Vec<Finding> {
    let config = &deployment.config;
    let tried =
        format!("the running hublatch at management.listen ({}), GET /ready", config.management.listen);
    let mut findings = vec![match health::ready(config).await {
        Ok(()) => Finding::ok(tried, "ready: the store and the hub answer"),
        Err(error) => {
            Finding::failed(tried, error, "start hublatch with this configuration, or mend what it names")
        }
    }];
    if let Ok(management) = CallTarget::management(config)
        && let Ok(answer) = management.get(INFO).await
    {
        findings.extend(same(deployment, &answer.json()));
        let metrics = management.get("/metrics").await;
        findings.extend(metrics.ok().and_then(|metrics| descriptors(deployment, &metrics.text())));
    }
    findings.extend(outside(deployment).await);
    findings
}

/// Whether what runs is what was read here.
fn same(deployment: &Deployment, info: &serde_json::Value) -> Option<Finding> {
    let config = &deployment.config;
    let pairs = [
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("public_url", config.public.url.origin.clone().into()),
        ("store", config.store.url.kind().into()),
        ("assertion", config.assertion.is_some().into()),
    ];
    let other: Vec<&str> = pairs
        .iter()
        .filter(|(name, here): &&(&str, serde_json::Value)| info[name] != *here)
        .map(|(name, _)| *name)
        .collect();
    (!other.is_empty()).then(|| {
        Finding::warn(
            "the running hublatch against this configuration",
            format!("they differ in {}", other.join(", ")),
            "restart it, or name the configuration that it runs with",
        )
    })
}

/// Whether it may open what its limits may take; only the process itself knows, and tells it in its metrics.
fn descriptors(deployment: &Deployment, metrics: &str) -> Option<Finding> {
    let possible = metrics.lines().find_map(|line| line.strip_prefix("process_max_fds "))?;
    let possible: usize = possible.parse().ok()?;
    let wanted = deployment.config.limits.descriptors();
    let tried = "open files of the running hublatch (nofile)";
    Some(if possible >= wanted {
        Finding::ok(tried, format!("it may have {possible}; its limits may take {wanted}"))
    } else {
        Finding::warn(
            tried,
            format!("it may have {possible}, but its limits may take {wanted}"),
            "raise it (LimitNOFILE of systemd, ulimits of a container), or lower limits.connections, tunnels and \
             upstream_connections",
        )
    })
}

/// The API is for programs: browsers must not reach it.
async fn outside(deployment: &Deployment) -> Option<Finding> {
    let tried = format!("the management API from outside, public.url{INFO}");
    let answer = deployment.public.as_ref().ok()?.get(INFO).await.ok()?;
    Some(if answer.json()["login_url"].is_string() {
        Finding::not_safe(tried, "it answers there", "let the front lead to public.listen alone")
    } else {
        Finding::ok(tried, format!("not there ({})", answer.status))
    })
}
