//! What is measured of the token store, by kind of call.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// A call of the token store by its name, as a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabel {
    operation: &'static str,
}

/// How one kind of call of the token store goes.
#[derive(Debug)]
pub struct StoreCall {
    /// How long it takes, in seconds.
    pub seconds: Histogram,
    /// How often it fails.
    pub errors: Counter,
}

/// The calls of the token store.
#[derive(Debug)]
pub struct StoreCalls {
    /// Issuing.
    pub insert: StoreCall,
    /// Looking a token up.
    pub find: StoreCall,
    /// Consuming.
    pub consume: StoreCall,
    /// Keeping a link for those who wait.
    pub reserve: StoreCall,
    /// Reading a link by its id.
    pub get: StoreCall,
    /// Revoking one link.
    pub revoke: StoreCall,
    /// Revoking all links of a user.
    pub revoke_user: StoreCall,
    /// Telling other replicas which sessions were ended.
    pub end_sessions: StoreCall,
    /// Hearing of those that others have ended.
    pub ended_sessions: StoreCall,
    /// Asking whether the store would answer.
    pub ping: StoreCall,
}

impl StoreCalls {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let seconds = Family::<OperationLabel, Histogram, fn() -> Histogram>::new_with_constructor(|| {
            Histogram::new([0.000_01, 0.000_1, 0.001, 0.01, 0.1, 1.0, 10.0])
        });
        let help = "Time that the token store takes";
        registry.register_with_unit("store_call", help, Unit::Seconds, seconds.clone());
        let errors = Family::<OperationLabel, Counter>::default();
        registry.register("store_errors", "Calls of the token store that failed", errors.clone());
        let call = |operation| {
            let label = OperationLabel { operation };
            StoreCall {
                seconds: seconds.get_or_create(&label).clone(),
                errors: errors.get_or_create(&label).clone(),
            }
        };
        Self {
            insert: call("insert"),
            find: call("find"),
            consume: call("consume"),
            reserve: call("reserve"),
            get: call("get"),
            revoke: call("revoke"),
            revoke_user: call("revoke_user"),
            end_sessions: call("end_sessions"),
            ended_sessions: call("ended_sessions"),
            ping: call("ping"),
        }
    }
}
