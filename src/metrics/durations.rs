//! A histogram of times that takes no lock: every request is observed.

use std::fmt::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Upper ends of the buckets in microseconds; the last has none.
const BOUNDS: [u64; 10] =
    [1_000, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000, 30_000_000, u64::MAX];

/// Times of requests.
#[derive(Debug, Clone, Default)]
pub struct Durations(Arc<BucketCounts>);

#[derive(Debug, Default)]
struct BucketCounts {
    buckets: [AtomicU64; BOUNDS.len()],
    micros: AtomicU64,
}

impl Durations {
    /// Counts one.
    pub fn observe(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < micros);
        self.0.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.0.micros.fetch_add(micros, Ordering::Relaxed);
    }
}

impl EncodeMetric for Durations {
    #[allow(clippy::cast_precision_loss)] // times and bounds far below 2^52 microseconds
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), Error> {
        let seconds = |micros: u64| if micros == u64::MAX { f64::INFINITY } else { micros as f64 / 1e6 };
        let mut buckets = BOUNDS.map(|bound| (seconds(bound), 0));
        for (bucket, count) in buckets.iter_mut().zip(&self.0.buckets) {
            bucket.1 = count.load(Ordering::Relaxed);
        }
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.0.micros.load(Ordering::Relaxed) as f64 / 1e6;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}
