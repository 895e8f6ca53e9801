//! The shared HTTP client, and where a provider is and how it knows us.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::error::{Error, ErrorKind, Result};

/// Connections idle for longer are closed, because servers close theirs about then and a race loses requests.
const POOL_IDLE: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(5);
/// A vendor that takes nothing of what is sent for so long has gone.
#[cfg(any(target_os = "android", target_os = "linux"))]
const UNREAD: Duration = Duration::from_secs(10);

/// The HTTP client that all providers share. It is made at first use: loading trust anchors takes longer than an MCP
/// client should wait for its server to start.
#[derive(Clone)]
pub struct VendorHttp(Arc<Shared>);

struct Shared {
    proxy: Option<Url>,
    client: OnceLock<reqwest::Client>,
}

impl VendorHttp {
    /// A client that goes through `proxy`, or straight to the vendor; never through a proxy of the environment.
    #[must_use]
    pub fn new(proxy: Option<Url>) -> Self {
        Self(Arc::new(Shared { proxy, client: OnceLock::new() }))
    }

    pub(super) fn client(&self) -> Result<&reqwest::Client> {
        if let Some(client) = self.0.client.get() {
            return Ok(client);
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("visiongate/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .pool_idle_timeout(POOL_IDLE)
            .tcp_nodelay(true);
        // A body that nobody reads is not kept on its way once its call is over.
        #[cfg(any(target_os = "android", target_os = "linux"))]
        {
            builder = builder.tcp_user_timeout(UNREAD);
        }
        if let Some(proxy) = &self.0.proxy {
            // What is for this machine does not leave it.
            let here = reqwest::NoProxy::from_string("localhost,127.0.0.0/8,::1");
            builder = builder.proxy(reqwest::Proxy::all(proxy.as_str()).map_err(client_failed)?.no_proxy(here));
        }
        let client = builder.build().map_err(client_failed)?;
        Ok(self.0.client.get_or_init(|| client))
    }
}

impl fmt::Debug for VendorHttp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("VendorHttp")
    }
}

fn client_failed(error: reqwest::Error) -> Error {
    Error::new(ErrorKind::Internal, "setting up the HTTP client for providers").caused_by(error.without_url())
}

/// How the key travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Bearer KEY`.
    Bearer,
    /// The bare key in a header of this name.
    Header(HeaderName),
}

/// Where a provider is and how it knows us.
pub struct Endpoint {
    /// Paths of the wire are appended to it.
    pub base_url: Url,
    pub auth: Auth,
    /// Absent for servers that ask for none.
    pub key: Option<SecretString>,
    /// Headers that the operator wants sent along.
    pub headers: HeaderMap,
}

impl Endpoint {
    pub(super) fn address(&self, path: &str) -> Result<Url> {
        let mut url = self.base_url.clone();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        url.set_path(&format!("{}{path}", self.base_url.path().trim_end_matches('/')));
        // The operator's address may have a query of its own, such as the version of an interface.
        let queries: Vec<&str> =
            [self.base_url.query().unwrap_or_default(), query].into_iter().filter(|it| !it.is_empty()).collect();
        url.set_query((!queries.is_empty()).then(|| queries.join("&")).as_deref());
        match url.scheme() {
            "http" | "https" => Ok(url),
            other => Err(Error::new(ErrorKind::Internal, format!("`base_url` has the scheme {other}"))),
        }
    }

    pub(super) fn header(&self) -> Result<Option<(HeaderName, HeaderValue)>> {
        let Some(key) = &self.key else { return Ok(None) };
        let (name, text) = match &self.auth {
            Auth::Bearer => (AUTHORIZATION, format!("Bearer {}", key.expose_secret())),
            Auth::Header(name) => (name.clone(), key.expose_secret().to_owned()),
        };
        let mut value = HeaderValue::try_from(text).map_err(|_| {
            Error::new(ErrorKind::Unauthorized, "the key holds characters that cannot stand in a header")
                .advise("check the key for line breaks and stray spaces")
        })?;
        value.set_sensitive(true);
        Ok(Some((name, value)))
    }
}

impl fmt::Debug for Endpoint {
    /// Names the address only.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.base_url)
    }
}
