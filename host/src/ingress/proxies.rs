//! Proxies before the server, and whom they have before them.

use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;

/// The header in which proxies say from whom they have a request.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The header in which proxies say how a request has come to them.
const FORWARDED_PROTO: &str = "x-forwarded-proto";

/// Whether a request was encrypted on its way, as far as a trusted proxy says so: an extension of requests to the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Encrypted(pub bool);

/// Proxies whose word is believed about who has sent a request.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Those with addresses in these networks.
    #[must_use]
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// The address of the client of a request that came from `peer`. Each proxy adds to the end of `X-Forwarded-For` whom it
    /// has the request from; what stands before that, anybody can have written. So the list is read from its end on, as
    /// long as proxies that are trusted say who was before them.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let lists = headers.get_all(FORWARDED_FOR).iter().rev().map(|list| list.to_str().unwrap_or_default());
        for word in lists.flat_map(|list| list.rsplit(',')) {
            if !self.trust(client) {
                return client;
            }
            match address(word.trim()) {
                Some(before) => client = before,
                // What a proxy says is not understood: it is the last one that is known.
                None => return client,
            }
        }
        client
    }

    /// Whether a request that came from `peer` was encrypted on its way to the proxy before the server. The server itself
    /// speaks no TLS. Where several proxies have added to the header, all of them have to say so.
    #[must_use]
    pub fn encrypted(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        let mut words = headers
            .get_all(FORWARDED_PROTO)
            .iter()
            .flat_map(|list| list.to_str().unwrap_or_default().split(',').map(str::trim))
            .peekable();
        self.trust(peer.to_canonical())
            && words.peek().is_some()
            && words.all(|word| word.eq_ignore_ascii_case("https"))
    }

    fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// An address, which some proxies write with a port.
fn address(word: &str) -> Option<IpAddr> {
    let socket = || word.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip());
    let bracketed = || word.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    word.parse().ok().or_else(socket).or_else(bracketed).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn client(peer: &str, lists: &[&str]) -> String {
        let proxies =
            TrustedProxies::new(vec!["127.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        for list in lists {
            headers.append(FORWARDED_FOR, HeaderValue::from_str(list).unwrap());
        }
        proxies.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn who_is_no_proxy_is_the_client_whatever_it_says() {
        assert_eq!(client("192.0.2.1", &["203.0.113.7"]), "192.0.2.1");
        assert_eq!(client("::ffff:192.0.2.1", &[]), "192.0.2.1");
    }

    #[test]
    fn the_last_one_that_no_trusted_proxy_vouches_for_is_the_client() {
        assert_eq!(client("127.0.0.1", &["203.0.113.7"]), "203.0.113.7");
        // What the client itself has written stands before.
        assert_eq!(client("127.0.0.1", &["1.1.1.1, 203.0.113.7"]), "203.0.113.7");
        assert_eq!(client("127.0.0.1", &["1.1.1.1", "203.0.113.7"]), "203.0.113.7");
        assert_eq!(client("127.0.0.1", &["203.0.113.7, 2001:db8::1, 127.0.0.2"]), "203.0.113.7");
        assert_eq!(client("127.0.0.1", &["203.0.113.7:4711"]), "203.0.113.7");
        assert_eq!(client("127.0.0.1", &["[2001:db9::1]:80"]), "2001:db9::1");
        assert_eq!(client("::ffff:127.0.0.1", &["203.0.113.7"]), "203.0.113.7");
    }

    #[test]
    fn only_a_trusted_proxy_says_that_a_request_was_encrypted() {
        let proxies = TrustedProxies::new(vec!["127.0.0.1/32".parse().unwrap()]);
        let encrypted = |peer: &str, words: &[&str]| {
            let mut headers = HeaderMap::new();
            for word in words {
                headers.append(FORWARDED_PROTO, HeaderValue::from_str(word).unwrap());
            }
            proxies.encrypted(peer.parse().unwrap(), &headers)
        };
        assert!(encrypted("127.0.0.1", &["https"]) && encrypted("::ffff:127.0.0.1", &["HTTPS, https"]));
        assert!(!encrypted("127.0.0.1", &[]) && !encrypted("127.0.0.1", &["http"]));
        assert!(!encrypted("127.0.0.1", &["https, http"]) && !encrypted("127.0.0.1", &["https", "http"]));
        assert!(!encrypted("127.0.0.1", &[""]) && !encrypted("192.0.2.1", &["https"]));
    }

    #[test]
    fn what_is_not_understood_is_nobodys_address() {
        assert_eq!(client("127.0.0.1", &["203.0.113.7, unknown"]), "127.0.0.1");
        assert_eq!(client("127.0.0.1", &[""]), "127.0.0.1");
        assert_eq!(client("127.0.0.1", &[]), "127.0.0.1");
        assert_eq!(client("127.0.0.1", &["127.0.0.3"]), "127.0.0.3");
    }
}
