//! Which addresses are one client's, and what one client has of what all share.

mod shares;

use std::net::{IpAddr, Ipv6Addr};

pub use shares::{ClientShares, Share, take_when_freed};

/// The network that counts as one client: an IPv4 address, or the 64 bits of an IPv6 network (RFC 6177).
pub fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}
