//! How many connections each peer has open.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::client_network::subscriber;

/// Open connections by peer; as many entries as there are connections at most.
#[derive(Debug, Clone, Default)]
pub(super) struct Peers(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One of a peer's connections, until it is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    peers: Peers,
    peer: IpAddr,
}

impl Peers {
    /// Counts one more of `peer`, unless it has `max` already.
    pub(super) fn count(&self, peer: IpAddr, max: usize) -> Option<Counted> {
        let peer = subscriber(peer);
        let mut open = self.lock();
        let count = open.entry(peer).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        drop(open);
        Some(Counted { peers: self.clone(), peer })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.peers.lock();
        if let Some(count) = open.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_has_a_limit_of_its_own_and_regains_what_it_closes() {
        let peers = Peers::default();
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let (first, second) = (peers.count(one, 2), peers.count(one, 2));
        assert!(first.is_some() && second.is_some() && peers.count(one, 2).is_none());
        assert!(peers.count(other, 2).is_some());
        drop(first);
        assert!(peers.count(one, 2).is_some());
        drop(second);
        assert!(peers.lock().is_empty(), "nothing is kept of who has gone");
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_are_one_peer() {
        let peers = Peers::default();
        let _one = peers.count("2001:db8::1".parse().unwrap(), 1).expect("the first");
        assert!(peers.count("2001:db8::ffff:2".parse().unwrap(), 1).is_none());
        assert!(peers.count("2001:db8:0:1::1".parse().unwrap(), 1).is_some());
    }
}
