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
        && let Ok(response) = management.get(INFO).await
    {
        findings.extend(same(deployment, &response.json()));
        let metrics = management.get("/metrics").await;
        if let Ok(metrics) = metrics {
            findings.extend(descriptors(deployment, &metrics.text()));
            findings.push(login_rate(&metrics.text()));
        }
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

/// How many logins the hub does a second, and what that means for a class. Only what was measured: nobody is logged in for it.
fn login_rate(metrics: &str) -> Finding {
    let tried = "the hub's login rate, in the metrics of the running hublatch";
    let number = |name: &str| {
        let of_line = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<f64>().ok();
        metrics.lines().find_map(of_line).filter(|number| *number > 0.0)
    };
    let class = |rate: f64| {
        format!(
            "a class of 100 would be in after about {}, one of 1,000 after {}",
            wait(100.0 / rate),
            wait(1000.0 / rate)
        )
    };
    if let Some(rate) = number("hublatch_logins_per_second_in_line") {
        let measured = format!("{rate:.1} a second the last time that people waited in line");
        return Finding::ok(tried, format!("{measured}: {}", class(rate)));
    }
    let (count, sum) = (number("hublatch_login_hub_seconds_count"), number("hublatch_login_hub_seconds_sum"));
    match count.zip(sum) {
        Some((count, sum)) => {
            let each = sum / count;
            let measured =
                format!("nobody has waited in line yet; each of {count} logins took the hub {each:.2} s");
            Finding::ok(tried, format!("{measured}: one after the other, {}", class(1.0 / each)))
        }
        None => {
            Finding::skipped(tried, "it has logged nobody in since it was started; see hublatch rehearse")
        }
    }
}

/// Seconds as people say them.
fn wait(seconds: f64) -> String {
    if seconds < 100.0 {
        format!("{:.0} s", seconds.ceil())
    } else {
        format!("{:.0} min", (seconds / 60.0).ceil())
    }
}

/// The API is for programs: browsers must not reach it.
async fn outside(deployment: &Deployment) -> Option<Finding> {
    let tried = format!("the management API from outside, public.url{INFO}");
    let response = deployment.public.as_ref().ok()?.get(INFO).await.ok()?;
    Some(if response.json()["login_url"].is_string() {
        Finding::not_safe(tried, "it answers there", "let the front lead to public.listen alone")
    } else {
        Finding::ok(tried, format!("not there ({})", response.status))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_what_the_hub_did_under_load_else_what_one_login_took_else_none() {
        let none = login_rate("hublatch_logins_per_second_in_line 0.0\nhublatch_login_hub_seconds_count 0\n");
        assert!(none.to_string().starts_with("skipped") && none.to_string().contains("nobody in"), "{none}");
        let some = "hublatch_logins_per_second 0.2\nhublatch_login_hub_seconds_sum 0.4\nhublatch_login_hub_seconds_count 8\n";
        let single = login_rate(some).to_string();
        assert!(single.contains("took the hub 0.05 s: one after the other, a class of 100"), "{single}");
        assert!(single.contains("after about 5 s, one of 1,000 after 50 s"), "{single}");
        let full = login_rate(&format!("{some}hublatch_logins_per_second_in_line 4.0\n")).to_string();
        assert!(full.contains("4.0 a second the last time that people waited in line"), "{full}");
        assert!(full.contains("after about 25 s, one of 1,000 after 5 min"), "{full}");
    }
}
