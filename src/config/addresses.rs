//! Addresses as people write them: where to listen, which pages and proxies are known, where other services are.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use ipnet::IpNet;
use url::{Host, Url};

/// Where to listen: `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`, or `:8080` for all addresses of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    host: ListenHost,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum ListenHost {
    Any,
    Address(IpAddr),
    Name(String),
}

impl Listen {
    /// The addresses that it stands for; the first that there is on this machine is meant.
    ///
    /// # Errors
    /// What the system says of a name that it does not know.
    pub fn addresses(&self) -> std::io::Result<Vec<SocketAddr>> {
        match &self.host {
            // The first takes IPv4 as well, where there is IPv6 at all.
            ListenHost::Any => {
                let all: [IpAddr; 2] = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
                Ok(all.map(|address| (address, self.port).into()).into())
            }
            ListenHost::Address(address) => Ok(vec![(*address, self.port).into()]),
            ListenHost::Name(name) => {
                let mut found: Vec<SocketAddr> = (name.as_str(), self.port).to_socket_addrs()?.collect();
                found.sort_by_key(SocketAddr::is_ipv6);
                Ok(found)
            }
        }
    }

    /// The same with the port that the system chose.
    #[must_use]
    pub fn with_port(self, port: u16) -> Listen {
        Listen { port, ..self }
    }

    /// How a client on this machine reaches it.
    pub fn url(&self) -> String {
        let port = self.port;
        match &self.host {
            ListenHost::Name(name) => format!("http://{name}:{port}"),
            ListenHost::Address(address) if !address.is_unspecified() => {
                format!("http://{}", SocketAddr::from((*address, port)))
            }
            ListenHost::Address(_) | ListenHost::Any => format!("http://127.0.0.1:{port}"),
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Listen, String> {
        let wrong = || "not like 127.0.0.1:8080, localhost:8080 or :8080".to_owned();
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Listen { host: ListenHost::Address(address.ip()), port: address.port() });
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let is_name = |host: &str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| digits).ok_or_else(wrong)?;
        match host {
            "" => Ok(Listen { host: ListenHost::Any, port }),
            host if is_name(host) => Ok(Listen { host: ListenHost::Name(host.to_owned()), port }),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            ListenHost::Any => write!(f, ":{}", self.port),
            ListenHost::Address(address) => SocketAddr::from((*address, self.port)).fmt(f),
            ListenHost::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// How clients reach the server from outside: the begin of absolute URLs, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(String);

impl FromStr for PublicUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<PublicUrl, String> {
        let wrong = || format!("{text} is not a URL like https://chat.example");
        let url = Url::parse(text).map_err(|_| wrong())?;
        let plain = url.username().is_empty() && url.password().is_none();
        let plain = plain && url.query().is_none() && url.fragment().is_none();
        match url.scheme() {
            "http" | "https" if plain && url.has_host() => Ok(PublicUrl(url.as_str().trim_end_matches('/').to_owned())),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A web origin as browsers write it: scheme, host and port in lower case, no default port, no path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// Whether a browser that tells its origin in these bytes means this one.
    pub fn is(&self, told: &[u8]) -> bool {
        self.0.as_bytes() == told
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Origin, String> {
        let wrong = || "not an origin like https://app.example, which has a scheme, a host and no path".to_owned();
        // A space would be taken out or written otherwise.
        let url = Url::parse(text).ok().filter(|_| text.is_ascii() || !text.contains(char::is_whitespace));
        let url = url.filter(|_| !text.contains([' ', '*', '?', '#', '@', '%', '\\'])).ok_or_else(wrong)?;
        if !matches!(url.path(), "" | "/") || !text.contains("://") {
            return Err(wrong());
        }
        match url.host() {
            Some(Host::Domain(host)) if !host.is_empty() => {}
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => {}
            _ => return Err(wrong()),
        }
        let (scheme, host) = (url.scheme(), url.host_str().unwrap_or_default().to_ascii_lowercase());
        // Those of apps (capacitor://localhost) have no port that goes without saying.
        let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
        Ok(Origin(format!("{scheme}://{host}{port}")))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A network, or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

impl Network {
    /// Whether an address lies in it. An IPv4 address that came as one of IPv6 is one of IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        let single = text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
        let network = single.or_else(|_| text.parse::<IpNet>());
        network.map(Network).map_err(|_| "neither an address nor a network like 10.0.0.0/8".to_owned())
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where another service is. What is secret in it never shows in logs or output.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ServiceUrl(String);

/// What stands in the place of a secret.
const HIDDEN: &str = "(hidden)";
/// The value of a parameter is secret if its name has one of these in it.
const SECRET_NAMES: [&str; 5] = ["pass", "secret", "token", "credential", "pwd"];

impl std::ops::Deref for ServiceUrl {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<String> for ServiceUrl {
    fn from(url: String) -> ServiceUrl {
        ServiceUrl(url)
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.0.split_once("://") else { return f.write_str(&without_secrets(&self.0)) };
        // People write passwords as they are, with any character in them; so up to the last @ all may be one.
        match rest.rsplit_once('@').map(|(credentials, place)| (credentials.split_once(':'), place)) {
            Some((Some((user, _)), place)) if !user.contains(['/', '?', '#']) => {
                write!(f, "{scheme}://{user}:{HIDDEN}@{}", without_secrets(place))
            }
            _ => write!(f, "{scheme}://{}", without_secrets(rest)),
        }
    }
}

/// A URL without the values of secret parameters.
fn without_secrets(url: &str) -> String {
    let Some((place, query)) = url.split_once('?') else { return url.to_owned() };
    let shown = query.split('&').map(|pair| {
        let Some((name, _)) = pair.split_once('=') else { return pair.to_owned() };
        let plain = url::form_urlencoded::parse(name.as_bytes()).next().map(|(name, _)| name.to_ascii_lowercase());
        let plain = plain.unwrap_or_default();
        let secret = SECRET_NAMES.iter().any(|part| plain.contains(part));
        if secret { format!("{name}={HIDDEN}") } else { pair.to_owned() }
    });
    format!("{place}?{}", shown.collect::<Vec<_>>().join("&"))
}

impl fmt::Debug for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}
