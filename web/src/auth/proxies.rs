//! Whom a request is from, behind proxies.

use std::{net::IpAddr, str::FromStr};

use anyhow::Context;
use axum::http::HeaderMap;
use ipnet::IpNet;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The networks whose word about others is taken. Anybody may write the header; so nobody else's is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    /// As `STREAMCOMMERCE_TRUSTED_PROXIES` names them: addresses and networks (`10.0.0.0/8`), separated by commas.
    ///
    /// # Errors
    /// One of them is neither.
    pub fn from_env() -> anyhow::Result<Self> {
        let named = std::env::var("STREAMCOMMERCE_TRUSTED_PROXIES").unwrap_or_default();
        named.parse().context("STREAMCOMMERCE_TRUSTED_PROXIES")
    }

    /// Who sent a request that came from `peer`: the last address in `X-Forwarded-For` that is no proxy of ours, for each
    /// proxy adds whom it heard.
    pub(super) fn sender(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let said = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let said: Vec<_> = said.flat_map(|value| value.split(',')).map(|address| address.trim().parse().ok()).collect();
        let mut sender = peer.to_canonical();
        for said in said.into_iter().rev() {
            let Some(said) = said.filter(|_: &IpAddr| self.trust(sender)) else { break };
            sender = said.to_canonical();
        }
        sender
    }

    fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl FromStr for Proxies {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let named = text.split(',').map(str::trim).filter(|named| !named.is_empty());
        let network = |named: &str| {
            let parsed = named.parse().or_else(|_| named.parse::<IpAddr>().map(IpNet::from));
            parsed.with_context(|| format!("{named:?} is neither an address nor a network such as 10.0.0.0/8"))
        };
        named.map(network).collect::<anyhow::Result<_>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_trusted_speaks_for_others() {
        let proxies = "10.0.0.0/8, 127.0.0.1".parse::<Proxies>().unwrap();
        for (peer, said, sender) in [
            ("1.2.3.4", None, "1.2.3.4"),
            // A stranger who would be somebody else.
            ("1.2.3.4", Some("9.9.9.9"), "1.2.3.4"),
            ("10.0.0.1", None, "10.0.0.1"),
            ("10.0.0.1", Some("1.2.3.4"), "1.2.3.4"),
            ("10.0.0.1", Some("9.9.9.9, 1.2.3.4"), "1.2.3.4"),
            ("127.0.0.1", Some("9.9.9.9, 1.2.3.4, 10.0.0.7"), "1.2.3.4"),
            ("10.0.0.1", Some("10.0.0.2"), "10.0.0.2"),
            ("10.0.0.1", Some("nonsense"), "10.0.0.1"),
            ("10.0.0.1", Some("1.2.3.4, nonsense"), "10.0.0.1"),
            ("::ffff:10.0.0.1", Some("2001:db8::1"), "2001:db8::1"),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(said) = said {
                headers.insert(FORWARDED_FOR, said.parse().unwrap());
            }
            let expected: IpAddr = sender.parse().unwrap();
            assert_eq!(proxies.sender(peer.parse().unwrap(), &headers), expected, "{peer} {said:?}");
            assert_eq!(
                Proxies::default().sender(peer.parse().unwrap(), &headers),
                peer.parse::<IpAddr>().unwrap().to_canonical()
            );
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        let refused = "10.0.0.0/8,proxy".parse::<Proxies>().unwrap_err().to_string();
        assert!(refused.contains("\"proxy\" is neither an address nor a network"), "{refused}");
        assert_eq!("".parse::<Proxies>().unwrap(), Proxies::default());
    }
}
