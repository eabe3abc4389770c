//! Which addresses a request may go to.
//!
//! Sources: the special-purpose address registries of IANA (RFC 6890, as of 2025) for IPv4 and IPv6; RFC 4291, 6052, 4380
//! and 3056 for IPv4 addresses inside of IPv6 addresses; the documentation of cloud providers for the addresses of their
//! metadata services.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::shares::Shares;
use crate::call::AppId;

/// Names that are looked up at the same time, those of one app half of them at most. The system's resolver blocks a thread
/// for each, for as long as it likes.
const MAX_LOOKUPS: usize = 32;

tokio::task_local! {
    /// Whose request is being sent: a resolver is told nothing but a name.
    pub(super) static SENDER: AppId;
}

/// What it takes to allow an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// Global unicast: anything on the public internet.
    Public,
    /// A rule with `private`: networks of one's own, this machine, and whatever else is no global unicast.
    Private,
    /// Nothing: metadata services, which hand out credentials to whoever asks, the rest of their networks, and
    /// addresses that are no single host.
    Never,
}

const NEVER_V4: &[(Ipv4Addr, u32)] = &[
    // "This network", of which 0.0.0.0 means this machine.
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    // Link-local, with the metadata services of most clouds; of Alibaba, Azure and Oracle.
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(100, 100, 100, 200), 32),
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    (Ipv4Addr::new(192, 0, 0, 192), 32),
    // Multicast; reserved, with the broadcast address.
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

const PRIVATE_V4: &[(Ipv4Addr, u32)] = &[
    // Private use (RFC 1918), shared (RFC 6598), loopback.
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    // IETF protocol assignments, the relays of 6to4, benchmarks.
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    // Documentation.
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
];

const NEVER_V6: &[(Ipv6Addr, u32)] = &[
    (Ipv6Addr::UNSPECIFIED, 128),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
    // Metadata services of AWS and Google.
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0), 32),
];

/// All of global unicast there is. What is outside of it is private: loopback, `fc00::/7`, `fec0::/10`, `100::/64` and
/// whatever will be assigned.
const GLOBAL_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// What is in it and is private all the same.
const PRIVATE_V6: &[(Ipv6Addr, u32)] = &[
    // IETF protocol assignments, with Teredo (2001::/32), benchmarks and ORCHID; documentation.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// What it takes to allow this address.
pub(crate) fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => of_v4(address),
        IpAddr::V6(address) => of_v6(address),
    }
}

fn of_v4(address: Ipv4Addr) -> Reach {
    let inside = |(network, length): &(Ipv4Addr, u32)| {
        (address.to_bits() ^ network.to_bits()).checked_shr(32 - length).unwrap_or_default() == 0
    };
    if NEVER_V4.iter().any(inside) {
        Reach::Never
    } else if PRIVATE_V4.iter().any(inside) {
        Reach::Private
    } else {
        Reach::Public
    }
}

fn of_v6(address: Ipv6Addr) -> Reach {
    let inside = |network: &(Ipv6Addr, u32)| is_in(address, *network);
    if NEVER_V6.iter().any(inside) {
        return Reach::Never;
    }
    if let Some(reach) = of_embedded(address) {
        return reach;
    }
    if !inside(&GLOBAL_V6) || PRIVATE_V6.iter().any(inside) { Reach::Private } else { Reach::Public }
}

/// An IPv6 address that stands for an IPv4 address is worth what that one is, or less where the whole prefix is for
/// local use, deprecated or a tunnel.
fn of_embedded(address: Ipv6Addr) -> Option<Reach> {
    let bits = address.to_bits();
    // The 32 bits of which so many are behind them.
    let v4 = |behind: u32| of_v4(Ipv4Addr::from_bits((bits >> behind & 0xffff_ffff) as u32));
    let prefix = |segments: [u16; 8], length| is_in(address, (Ipv6Addr::from(segments), length));
    // IPv4-mapped; NAT64.
    if prefix([0, 0, 0, 0, 0, 0xffff, 0, 0], 96) || prefix([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96) {
        return Some(v4(0));
    }
    // 6to4.
    if prefix([0x2002, 0, 0, 0, 0, 0, 0, 0], 16) {
        return Some(v4(80));
    }
    // ::1, which is no IPv4 address.
    if address == Ipv6Addr::LOCALHOST {
        return Some(Reach::Private);
    }
    // IPv4-compatible; IPv4-translated.
    if prefix([0; 8], 96) || prefix([0, 0, 0, 0, 0xffff, 0, 0, 0], 96) {
        return Some(Reach::Private.max(v4(0)));
    }
    // NAT64 for local use: with a prefix of 96 bits, or of 48, whose IPv4 address has 8 zero bits in its middle. Zeros are
    // where the other form has no part of the address.
    if prefix([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48) {
        let (whole, first_half) = (bits as u32, (bits >> 64 & 0xffff) as u32);
        let parted = first_half << 16 | (bits >> 40 & 0xffff) as u32;
        let forms = [(whole, whole != 0), (parted, first_half != 0)];
        let found = forms.into_iter().filter(|(_, there)| *there).map(|(form, _)| of_v4(form.into()));
        return found.chain([Reach::Private]).max();
    }
    // Teredo: the server, and the client with its bits flipped.
    if prefix([0x2001, 0, 0, 0, 0, 0, 0, 0], 32) {
        return Some(Reach::Private.max(v4(64)).max(of_v4(Ipv4Addr::from_bits(!(bits as u32)))));
    }
    None
}

fn is_in(address: Ipv6Addr, (network, length): (Ipv6Addr, u32)) -> bool {
    (address.to_bits() ^ network.to_bits()).checked_shr(128 - length).unwrap_or_default() == 0
}

/// Whether an address may be connected to.
fn allows(private: bool, address: IpAddr) -> bool {
    reach(address) <= if private { Reach::Private } else { Reach::Public }
}

/// Whether a URL may be connected to as far as that can be seen before names are resolved.
pub(super) fn allows_literal(private: bool, url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => allows(private, address.into()),
        Some(Host::Ipv6(address)) => allows(private, address.into()),
        Some(Host::Domain(_)) => true,
        None => false,
    }
}

/// A name has addresses, and none of them may be connected to.
#[derive(Debug, thiserror::Error)]
#[error("no address of the name may be connected to")]
pub(super) struct Blocked;

/// A name has no address, or nobody knows.
#[derive(Debug, thiserror::Error)]
#[error("the name cannot be resolved")]
pub(super) struct Unresolved;

/// The system's resolver, without the addresses that may not be connected to.
#[derive(Clone)]
pub(super) struct Resolver {
    private: bool,
    lookups: Shares,
}

impl Resolver {
    /// A resolver that gives out public addresses only, and one that gives out private ones, too.
    pub(super) fn pair() -> [Self; 2] {
        let lookups = Shares::new(MAX_LOOKUPS);
        [false, true].map(|private| Self { private, lookups: lookups.clone() })
    }

    async fn lookup(
        self,
        app: AppId,
        name: String,
    ) -> Result<Addrs, Box<dyn std::error::Error + Send + Sync>> {
        let place = self.lookups.acquire(app).await;
        // On its own: the thread is busy until the system answers, even if the caller has given up.
        let found = tokio::spawn(async move {
            let found = tokio::net::lookup_host((name, 0)).await.map(|found| found.collect::<Vec<_>>());
            drop(place);
            found
        });
        let found = found.await?.map_err(|_| Unresolved)?;
        if found.is_empty() {
            return Err(Unresolved.into());
        }
        let allowed: Vec<SocketAddr> =
            found.into_iter().filter(|address| allows(self.private, address.ip())).collect();
        if allowed.is_empty() { Err(Blocked.into()) } else { Ok(Box::new(allowed.into_iter())) }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        // The client connects in the task of whoever sends. What it connects for nobody in particular shares a place.
        let app = SENDER.try_with(|app| *app).unwrap_or(AppId(0));
        Box::pin(self.clone().lookup(app, name.as_str().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::outbound::tls::{Roots, config};

    #[track_caller]
    fn check(expected: Reach, addresses: &[&str]) {
        for address in addresses {
            assert_eq!(reach(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn the_public_internet_is_public() {
        check(
            Reach::Public,
            &["1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255"],
        );
        check(
            Reach::Public,
            &["128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0"],
        );
        check(
            Reach::Public,
            &["192.88.98.255", "192.167.255.255", "198.17.255.255", "198.20.0.0", "223.255.255.255"],
        );
        check(Reach::Public, &["2606:4700:4700::1111", "2a00::1", "2001:200::1", "2003::1", "3ffe::1"]);
        check(Reach::Public, &["::ffff:1.1.1.1", "64:ff9b::8.8.8.8", "2002:808:808::1"]);
    }

    #[test]
    fn what_is_no_global_unicast_is_private() {
        check(Reach::Private, &["10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.1.1"]);
        check(Reach::Private, &["100.64.0.0", "100.127.255.255", "127.0.0.1", "127.255.255.255"]);
        check(Reach::Private, &["192.0.0.1", "192.0.2.1", "192.88.99.1", "198.18.0.0", "198.19.255.255"]);
        check(Reach::Private, &["198.51.100.1", "203.0.113.255"]);
        check(Reach::Private, &["::1", "fc00::1", "fd12::1", "fec0::1", "100::1", "2001:db8::1", "5f00::1"]);
        check(Reach::Private, &["2001:2::1", "2001:20::1", "3fff::1", "4000::1", "1fff::1", "8000::1"]);
    }

    #[test]
    fn an_address_inside_an_address_counts() {
        check(
            Reach::Private,
            &["::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::10.1.1.1"],
        );
        check(
            Reach::Private,
            &["::127.0.0.1", "::8.8.8.8", "::ffff:0:8.8.8.8", "64:ff9b:1::8.8.8.8", "64:ff9b:1:a01:0:100::"],
        );
        check(Reach::Private, &["2002:7f00:1::1", "2002:c0a8:101::", "2001:0:808:808::f7f7:f7f7"]);
        check(Reach::Never, &["::ffff:169.254.169.254", "64:ff9b::169.254.169.254", "2002:a9fe:a9fe::1"]);
        check(
            Reach::Never,
            &[
                "64:ff9b:1:1::169.254.169.254",
                "64:ff9b:1::169.254.169.254",
                "64:ff9b:1:a9fe:a9:fe00::",
                "::169.254.169.254",
            ],
        );
        // Teredo: the server is, or the client: 169.254.169.254 with its bits flipped.
        check(Reach::Never, &["2001:0:a9fe:a9fe::1", "2001:0:808:808::5601:5601", "::ffff:0.0.0.0"]);
    }

    #[test]
    fn what_no_rule_can_allow() {
        check(
            Reach::Never,
            &["0.0.0.0", "0.255.255.255", "169.254.0.0", "169.254.169.254", "169.254.255.255"],
        );
        check(Reach::Never, &["224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"]);
        check(Reach::Never, &["100.100.100.200", "168.63.129.16", "192.0.0.192"]);
        check(Reach::Never, &["::", "fe80::1", "febf::1", "ff02::1", "fd00:ec2::254", "fd20:ce::254"]);
    }

    /// Notes for whom names are looked up.
    struct Noting(std::sync::mpsc::Sender<Option<AppId>>);

    impl Resolve for Noting {
        fn resolve(&self, _: Name) -> Resolving {
            let _ = self.0.send(SENDER.try_with(|app| *app).ok());
            Box::pin(async { Err(Unresolved.into()) })
        }
    }

    #[tokio::test]
    async fn the_client_looks_names_up_for_whoever_sends() {
        let (noted, notes) = std::sync::mpsc::channel();
        let tls = config(Roots::default()).unwrap();
        let client = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy();
        let client = client.dns_resolver(Arc::new(Noting(noted))).build().unwrap();
        for app in [AppId(7), AppId(8)] {
            let sent = SENDER.scope(app, client.get("http://nothing.invalid/").send());
            assert!(sent.await.is_err());
            assert_eq!(notes.recv().unwrap(), Some(app));
        }
    }

    #[tokio::test]
    async fn a_name_gives_only_what_may_be_connected_to() {
        let [public, private] = Resolver::pair();
        let resolve = async |resolver: &Resolver, name: &str| {
            let found = resolver.resolve(name.parse().unwrap()).await;
            found.map(|found| found.collect::<Vec<_>>())
        };
        assert!(resolve(&public, "localhost").await.unwrap_err().is::<Blocked>());
        let found = resolve(&private, "localhost").await.unwrap();
        assert!(!found.is_empty() && found.iter().all(|address| address.ip().is_loopback()));
        assert!(resolve(&private, "nothing.invalid").await.unwrap_err().is::<Unresolved>());
        // What the system makes of it never leaves the filter, whatever that is.
        for literal in ["169.254.169.254", "0", "0xa9fea9fe"] {
            assert!(resolve(&private, literal).await.is_err(), "{literal}");
        }
    }
}
