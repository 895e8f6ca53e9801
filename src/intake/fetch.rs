//! The only place that opens a caller's URL: a guard against being led into private networks, and bounds on the rest.
//!
//! The address is checked where the connection is made, inside the resolver, so a name cannot change its mind between
//! check and use. Redirects are followed by hand, each through the same checks. Errors name the rule that was broken,
//! never what was found behind it.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::{ACCEPT, ACCEPT_ENCODING, LOCATION};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};

use super::address::is_public;
use crate::failure::{Code, Failure, Result};

const MOST_REDIRECTS: usize = 3;
const CONNECT: Duration = Duration::from_secs(3);
const FIRST_BYTE: Duration = Duration::from_secs(5);
const TOTAL: Duration = Duration::from_secs(10);

/// Whether URLs may lead into private networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Networks {
    /// https on port 443, public addresses.
    PublicOnly,
    /// Also http, other ports and private addresses: for image servers of one's own.
    PrivateToo,
}

/// Fetches callers' URLs.
#[derive(Debug)]
pub struct Fetcher {
    networks: Networks,
    largest: usize,
    client: OnceLock<reqwest::Client>,
}

impl Fetcher {
    /// A fetcher that reads at most `largest` bytes.
    #[must_use]
    pub fn new(networks: Networks, largest: usize) -> Self {
        Self { networks, largest, client: OnceLock::new() }
    }

    /// Fetches an image.
    ///
    /// # Errors
    /// `URL_BLOCKED` when a rule forbids the address, `FETCH_FAILED` when it does not yield a file in time,
    /// `IMAGE_TOO_LARGE` when there is too much of it.
    pub async fn fetch(&self, url: Url, deadline: Instant) -> Result<Bytes> {
        let deadline = deadline.min(Instant::now() + TOTAL);
        timeout_at(deadline, self.follow(url)).await.unwrap_or_else(|_| Err(too_slow()))
    }

    async fn follow(&self, mut url: Url) -> Result<Bytes> {
        for _ in 0..=MOST_REDIRECTS {
            self.check(&url)?;
            let response = self.get(&url).await?;
            if !response.status().is_redirection() {
                return self.read(response).await;
            }
            let next = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            let next = next.and_then(|location| url.join(location).ok());
            let next = next.ok_or_else(|| failed("the server redirects to nowhere"))?;
            if url.scheme() == "https" && next.scheme() != "https" {
                return Err(blocked("a redirect leads from https to http"));
            }
            url = next;
        }
        Err(failed(format!("the server redirects more than {MOST_REDIRECTS} times")))
    }

    /// Everything that can be known of a URL without resolving it.
    fn check(&self, url: &Url) -> Result<()> {
        let private_too = self.networks == Networks::PrivateToo;
        match url.scheme() {
            "https" => {}
            "http" if private_too => {}
            "http" => return Err(blocked("only https is allowed").advise("use the https form of the URL")),
            _ => return Err(blocked("only https is allowed")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(blocked("it holds a user name or password"));
        }
        if !private_too && url.port_or_known_default() != Some(443) {
            return Err(blocked("only the port 443 is allowed"));
        }
        let address = match url.host() {
            None => return Err(blocked("it names no host")),
            Some(_) if private_too => return Ok(()),
            Some(Host::Domain(name)) if is_public_name(name) => return Ok(()),
            Some(Host::Domain(_)) => return Err(blocked("its host is not a public name")),
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
        };
        if is_public(address) { Ok(()) } else { Err(private()) }
    }

    async fn get(&self, url: &Url) -> Result<reqwest::Response> {
        let request = self.client()?.get(url.clone()).header(ACCEPT, "image/*").header(ACCEPT_ENCODING, "identity");
        let first_byte = Instant::now() + FIRST_BYTE;
        match timeout_at(first_byte, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) if is_refusal(&error) => Err(private()),
            Ok(Err(error)) if error.is_connect() => Err(failed("connecting to the server failed")),
            Ok(Err(_)) => Err(failed("the server broke off")),
            Err(_) => Err(too_slow()),
        }
    }

    async fn read(&self, mut response: reqwest::Response) -> Result<Bytes> {
        if response.status() != StatusCode::OK {
            return Err(failed("the server did not answer with the file"));
        }
        let too_large = || {
            let message = format!("fetching the image: it is larger than {} bytes", self.largest);
            Failure::new(Code::ImageTooLarge, message).advise("use a smaller version of the image")
        };
        if response.content_length().is_some_and(|length| length > self.largest as u64) {
            return Err(too_large());
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| failed("the server broke off midway"))? {
            if body.len() + chunk.len() > self.largest {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    fn client(&self) -> Result<&reqwest::Client> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = reqwest::Client::builder()
            .user_agent(concat!("visiongate/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT)
            .pool_idle_timeout(Duration::from_secs(5))
            .dns_resolver(Arc::new(Guarded(self.networks)))
            .build()
            .map_err(|error| Failure::new(Code::Internal, format!("setting up the HTTP client: {error}")))?;
        Ok(self.client.get_or_init(|| client))
    }
}

/// A dotted name that is not reserved for private use.
fn is_public_name(name: &str) -> bool {
    const PRIVATE: [&str; 6] = ["localhost", "local", "internal", "localdomain", "home.arpa", "lan"];
    let reserved = |suffix: &str| name == suffix || name.ends_with(&format!(".{suffix}"));
    name.contains('.') && !name.ends_with('.') && !PRIVATE.iter().any(|suffix| reserved(suffix))
}

/// A resolver that refuses a name as soon as one of its addresses is not public.
struct Guarded(Networks);

/// What [`Guarded`] reports; found again in the chain of a failed connection.
#[derive(Debug)]
struct PrivateAddress;

impl std::fmt::Display for PrivateAddress {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("the name leads to a private address")
    }
}

impl std::error::Error for PrivateAddress {}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let networks = self.0;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if networks == Networks::PublicOnly && !found.iter().all(|address| is_public(address.ip())) {
                return Err(PrivateAddress.into());
            }
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

fn is_refusal(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.is::<PrivateAddress>() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn blocked(rule: impl std::fmt::Display) -> Failure {
    Failure::new(Code::UrlBlocked, format!("the image's URL is not allowed: {rule}"))
}

fn private() -> Failure {
    blocked("its address is not public")
        .advise("an operator who trusts every caller can set `intake.allow_private_networks`")
}

fn failed(why: impl std::fmt::Display) -> Failure {
    Failure::new(Code::FetchFailed, format!("fetching the image: {why}"))
        .retryable()
        .advise("check the URL, or save the image and give its path")
}

fn too_slow() -> Failure {
    failed(format!("it did not arrive within {} s", TOTAL.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(url: &str) -> &'static str {
        let fetcher = Fetcher::new(Networks::PublicOnly, 1000);
        let Ok(url) = Url::parse(url) else { return "INVALID" };
        fetcher.check(&url).map_or_else(|failure| failure.code.name(), |()| "ok")
    }

    #[test]
    fn spellings_of_private_addresses_do_not_pass() {
        let blocked = [
            "http://example.org/a.png",
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://localhost/",
            "https://a.localhost/",
            "https://printer/",
            "https://printer.local/",
            "https://db.internal/",
            "https://example.org./",
            "https://user@example.org/",
            "https://u:p@example.org/",
            "https://example.org:8443/",
            "https://１２７.0.0.1/",
            "https://①②⑦.0.0.1/",
            "https://169.254.169.254/latest",
            "https://pub.test\\@169.254.169.254:443\\@/",
            "https://router.lan/",
            "ftp://example.org/",
        ];
        for url in blocked {
            let verdict = verdict(url);
            assert!(verdict == "URL_BLOCKED" || url.contains("pub.test"), "{url}: {verdict}");
        }
        assert_eq!(Url::parse("https://pub.test\\@169.254.169.254/").expect("a URL").host_str(), Some("pub.test"));
    }

    #[test]
    fn public_addresses_pass() {
        for url in
            ["https://example.org/a.png", "https://example.org:443/", "https://8.8.8.8/", "https://[2606:4700::1111]/"]
        {
            assert_eq!(verdict(url), "ok", "{url}");
        }
    }
}
