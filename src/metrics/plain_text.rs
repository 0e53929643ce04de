//! The `OpenMetrics` text as Prometheus text 0.0.4, for scrapers which ask for that.
//!
//! The two differ in what they call a family: here a counter bears the name of its sample, `…_total`; an info is a gauge;
//! there are no units and no end.

use std::fmt::Write as _;

/// `open_metrics` in the older format.
pub(super) fn from_open_metrics(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    // A description waits for the type: only that says which name the family has here.
    let mut help = None;
    for line in open_metrics.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                other => ("", other),
            };
            if let Some((_, sentence)) = help.take().filter(|(of, _)| *of == name) {
                // Writing to a String cannot fail.
                let _written = writeln!(text, "# HELP {name}{suffix} {sentence}");
            }
            let _written = writeln!(text, "# TYPE {name}{suffix} {kind}");
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_bear_the_names_of_the_older_format() {
        let open_metrics = "# HELP a_build What is running.\n# TYPE a_build info\na_build_info{version=\"1\"} 1\n\
                            # HELP a_calls Calls.\n# TYPE a_calls counter\na_calls_total{code=\"# 1\"} 3\n\
                            # HELP a_seconds Time.\n# TYPE a_seconds histogram\n# UNIT a_seconds seconds\n\
                            a_seconds_bucket{le=\"+Inf\"} 1\na_seconds_count 1\na_seconds_sum 0.5\n\
                            # HELP a_open Open.\n# TYPE a_open gauge\na_open 2\n# EOF\n";
        let expected = "# HELP a_build_info What is running.\n# TYPE a_build_info gauge\na_build_info{version=\"1\"} 1\n\
                        # HELP a_calls_total Calls.\n# TYPE a_calls_total counter\na_calls_total{code=\"# 1\"} 3\n\
                        # HELP a_seconds Time.\n# TYPE a_seconds histogram\n\
                        a_seconds_bucket{le=\"+Inf\"} 1\na_seconds_count 1\na_seconds_sum 0.5\n\
                        # HELP a_open Open.\n# TYPE a_open gauge\na_open 2\n";
        assert_eq!(from_open_metrics(open_metrics), expected);
    }
}
