//! Whose address it is, behind proxies. Pure.

use std::net::{IpAddr, SocketAddr};

use crate::config::Network;

/// The address of the client: the peer itself, unless it is one of our proxies; then the rightmost hop that
/// `X-Forwarded-For` names and that is none of them. What stands further left, the client may have written itself.
pub fn client_address<'a>(peer: IpAddr, forwarded: impl Iterator<Item = &'a str>, trusted: &[Network]) -> IpAddr {
    let hops: Vec<&str> = forwarded.flat_map(|header| header.split(',')).collect();
    let mut address = peer.to_canonical();
    for hop in hops.into_iter().rev() {
        if !is_trusted(address, trusted) {
            return address;
        }
        // A hop that cannot be read was not written by a proxy of ours; the one after it answers for it.
        let Some(before) = parse(hop) else { return address };
        address = before.to_canonical();
    }
    address
}

/// Whether an address is one of our proxies.
pub fn is_trusted(address: IpAddr, trusted: &[Network]) -> bool {
    trusted.iter().any(|net| net.contains(address))
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1` or `[2001:db8::1]:80`.
fn parse(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    bare.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(peer: &str, headers: &[&str], trusted: &[&str]) -> String {
        let trusted: Vec<Network> = trusted.iter().map(|net| net.parse().expect("a network")).collect();
        client_address(peer.parse().expect("an address"), headers.iter().copied(), &trusted).to_string()
    }

    #[test]
    fn s8_only_the_rightmost_hop_that_is_no_proxy_counts() {
        let proxies = ["10.0.0.0/8", "2001:db8:1::/48"];
        assert_eq!(address("203.0.113.9", &["1.2.3.4"], &proxies), "203.0.113.9", "an untrusted peer is not believed");
        assert_eq!(address("203.0.113.9", &["1.2.3.4"], &[]), "203.0.113.9");
        assert_eq!(address("10.0.0.1", &[], &proxies), "10.0.0.1");
        assert_eq!(address("10.0.0.1", &["198.51.100.7"], &proxies), "198.51.100.7");
        assert_eq!(address("10.0.0.1", &["6.6.6.6, 198.51.100.7"], &proxies), "198.51.100.7", "6.6.6.6 is made up");
        assert_eq!(address("10.0.0.1", &["6.6.6.6", "198.51.100.7, 10.2.3.4"], &proxies), "198.51.100.7");
        assert_eq!(address("10.0.0.1", &["10.1.1.1, 10.2.2.2"], &proxies), "10.1.1.1", "all are proxies");
        assert_eq!(address("10.0.0.1", &["6.6.6.6, nonsense, 10.2.2.2"], &proxies), "10.2.2.2");
        assert_eq!(address("10.0.0.1", &["198.51.100.7:4711"], &proxies), "198.51.100.7");
        assert_eq!(address("2001:db8:1::5", &["[2001:db8:9::1]:443"], &proxies), "2001:db8:9::1");
        assert_eq!(address("::ffff:10.0.0.1", &["::ffff:198.51.100.7"], &proxies), "198.51.100.7");
        assert_eq!(address("10.0.0.1", &["198.51.100.7"], &["10.0.0.1"]), "198.51.100.7", "a single proxy");
        assert_eq!(address("10.0.0.2", &["198.51.100.7"], &["10.0.0.1"]), "10.0.0.2");
        assert_eq!(address("10.0.0.1", &["198.51.100.7"], &["::ffff:10.0.0.1"]), "198.51.100.7");
    }

    proptest! {
        #[test]
        fn what_the_client_writes_changes_nothing(lies in "[0-9a-f.:, \\[\\]]{0,60}") {
            let told = format!("{lies}, 198.51.100.7, 10.2.3.4");
            prop_assert_eq!(address("10.0.0.1", &[&told], &["10.0.0.0/8"]), "198.51.100.7");
            prop_assert_eq!(address("198.51.100.7", &[&told], &["10.0.0.0/8"]), "198.51.100.7");
        }
    }
}
