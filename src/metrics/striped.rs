//! A counter that many threads count at once: each in a place of its own, so that none waits for another's cache line.

use std::fmt::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// More threads than this share places.
const PLACES: usize = 64;

/// A count, as the sum of its places.
#[derive(Debug, Clone)]
pub struct Striped(Arc<Places>);

#[derive(Debug)]
struct Places {
    counts: [Place; PLACES],
    next: AtomicUsize,
}

/// As large as what a processor fetches at once.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Place(AtomicU64);

/// One place: for one thread.
#[derive(Debug)]
pub struct Stripe {
    places: Arc<Places>,
    at: usize,
}

impl Striped {
    /// A place that no other thread has yet.
    pub fn stripe(&self) -> Stripe {
        let at = self.0.next.fetch_add(1, Ordering::Relaxed) % PLACES;
        Stripe { places: Arc::clone(&self.0), at }
    }

    fn sum(&self) -> u64 {
        self.0.counts.iter().map(|place| place.0.load(Ordering::Relaxed)).sum()
    }
}

impl Default for Striped {
    fn default() -> Self {
        Self(Arc::new(Places {
            counts: std::array::from_fn(|_| Place::default()),
            next: AtomicUsize::new(0),
        }))
    }
}

impl Stripe {
    /// Counts one.
    pub fn inc(&self) {
        self.places.counts[self.at].0.fetch_add(1, Ordering::Relaxed);
    }
}

impl EncodeMetric for Striped {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), Error> {
        encoder.encode_counter::<NoLabelSet, _, u64>(&self.sum(), None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_threads_count_is_all_there() {
        let striped = Striped::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * PLACES {
                let stripe = striped.stripe();
                scope.spawn(move || (0..100).for_each(|_| stripe.inc()));
            }
        });
        assert_eq!(striped.sum(), 200 * PLACES as u64);
    }
}
