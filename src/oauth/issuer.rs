//! The issuer on the network: where it says that its keys are, and the keys. The only place here that sends.
//!
//! It follows no redirect, takes no proxy from the environment, reads bodies within bounds and gives up soon. It neither
//! remembers nor repeats anything: that is the keyring's business. What it reports names addresses and what was wrong
//! there, and repeats nothing of what they answered.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::BytesMut;
use http::header::{ACCEPT, CACHE_CONTROL};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use tokio::time::timeout;
use url::{Position, Url};

use super::identifier::{Identifier, secured};
use super::keys::KeySet;
use super::settings::Settings;

const CONNECT: Duration = Duration::from_secs(3);
/// For everything, from the first document to the last key.
const TOTAL: Duration = Duration::from_secs(5);
/// Of any of its documents. Key sets with certificates have tens of KiB.
const LARGEST: usize = 256 << 10;

/// How long keys are good for that say nothing about it, and the least and the most that is believed.
const USUAL: Duration = Duration::from_mins(10);
const SHORTEST: Duration = Duration::from_mins(5);
const LONGEST: Duration = Duration::from_hours(24);

/// An issuer and the way to it.
#[derive(Debug)]
pub(super) struct Issuer {
    identifier: Identifier,
    jwks: Option<Url>,
    proxy: Option<Url>,
    /// Made at first use: loading trust anchors takes longer than anybody should wait for a start.
    client: OnceLock<reqwest::Client>,
}

/// Keys, and for how long they are good.
pub(super) struct Fetched {
    pub(super) keys: KeySet,
    pub(super) lifetime: Duration,
}

impl Issuer {
    pub(super) fn new(settings: &Settings) -> Self {
        let Settings { issuer, jwks, proxy, .. } = settings.clone();
        Self { identifier: issuer, jwks, proxy, client: OnceLock::new() }
    }

    /// Its keys, as of now.
    ///
    /// # Errors
    /// What was wrong, for the log.
    pub(super) async fn keys(&self) -> Result<Fetched, String> {
        let late = || Err(format!("it took longer than {} s", TOTAL.as_secs()));
        timeout(TOTAL, self.fetch()).await.unwrap_or_else(|_| late())
    }

    async fn fetch(&self) -> Result<Fetched, String> {
        let address = match &self.jwks {
            Some(jwks) => jwks.clone(),
            None => self.discover().await?,
        };
        let document = self.get(&address).await?;
        let keys = KeySet::read(&document.body).map_err(|wrong| format!("{}: {wrong}", shown(&address)))?;
        Ok(Fetched { keys, lifetime: lifetime(&document.headers) })
    }

    /// Where its documents say that its keys are. The first document that is about this very issuer counts.
    async fn discover(&self) -> Result<Url, String> {
        let mut wrong = Vec::new();
        for address in documents(&self.identifier) {
            match self.get(&address).await.and_then(|document| self.jwks_uri(&document)) {
                Ok(jwks) => return Ok(jwks),
                Err(reason) => wrong.push(format!("{}: {reason}", shown(&address))),
            }
        }
        Err(wrong.join("; "))
    }

    fn jwks_uri(&self, document: &Document) -> Result<Url, String> {
        let metadata: Metadata =
            serde_json::from_slice(&document.body).map_err(|_| "it is no metadata with `issuer` and `jwks_uri`")?;
        // Otherwise one issuer could speak for another (RFC 8414, section 3.3).
        if metadata.issuer != self.identifier.as_str() {
            return Err("its `issuer` is not the one that is configured, character by character".to_owned());
        }
        let leaves_tls = metadata.jwks_uri.scheme() != self.identifier.url().scheme();
        if leaves_tls && metadata.jwks_uri.scheme() != "https" {
            return Err("its `jwks_uri` is not https".to_owned());
        }
        Ok(metadata.jwks_uri)
    }

    async fn get(&self, address: &Url) -> Result<Document, String> {
        secured(address).map_err(|unfit| unfit.to_string())?;
        let request = self.client()?.get(address.clone()).header(ACCEPT, "application/json");
        let mut response = request.send().await.map_err(told)?;
        match response.status() {
            StatusCode::OK => {}
            status if status.is_redirection() => return Err("it redirects, which is not followed".to_owned()),
            status => return Err(format!("it answers with status {}", status.as_u16())),
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(told)? {
            if body.len() + chunk.len() > LARGEST {
                return Err(format!("it has more than {} KiB", LARGEST >> 10));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Document { headers: response.headers().clone(), body })
    }

    fn client(&self) -> Result<&reqwest::Client, String> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("visiongate/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT)
            .pool_idle_timeout(CONNECT);
        if let Some(proxy) = &self.proxy {
            // What is for this machine does not leave it.
            let here = reqwest::NoProxy::from_string("localhost,127.0.0.0/8,::1");
            builder = builder.proxy(reqwest::Proxy::all(proxy.as_str()).map_err(told)?.no_proxy(here));
        }
        let client = builder.build().map_err(told)?;
        Ok(self.client.get_or_init(|| client))
    }
}

struct Document {
    headers: HeaderMap,
    body: BytesMut,
}

/// What is asked of the documents about an issuer.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: Url,
}

/// Where an issuer may keep documents about itself, in the order in which clients of MCP look: by RFC 8414, and `OpenID`
/// Connect in the form of that RFC and in its own.
fn documents(issuer: &Identifier) -> Vec<Url> {
    let path = issuer.url().path().trim_end_matches('/');
    let mut paths = vec![
        format!("/.well-known/oauth-authorization-server{path}"),
        format!("/.well-known/openid-configuration{path}"),
        format!("{path}/.well-known/openid-configuration"),
    ];
    paths.dedup();
    let at = |path: String| {
        let mut url = issuer.url().clone();
        url.set_path(&path);
        url
    };
    paths.into_iter().map(at).collect()
}

/// For how long keys are good that came with these headers.
fn lifetime(headers: &HeaderMap) -> Duration {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut lifetime = USUAL;
    for directive in values.flat_map(|value| value.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return SHORTEST,
            "max-age" => {
                let seconds = value.trim().trim_matches('"').parse();
                lifetime = seconds.map_or(USUAL, |seconds| Duration::from_secs(seconds).clamp(SHORTEST, LONGEST));
            }
            _ => {}
        }
    }
    lifetime
}

/// An address without what may be secret in it.
fn shown(address: &Url) -> &str {
    &address[..Position::AfterPath]
}

/// What went wrong on the way, down to the cause, without the address.
fn told(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_looked_for_where_issuers_keep_them() {
        let check = |issuer: &str, expected: &[&str]| {
            let found = documents(&Identifier::parse(issuer).expect(issuer));
            assert_eq!(found.iter().map(Url::as_str).collect::<Vec<_>>(), expected);
        };
        let root = [
            "https://a.example/.well-known/oauth-authorization-server",
            "https://a.example/.well-known/openid-configuration",
        ];
        check("https://a.example", &root);
        check("https://a.example/", &root);
        let below = [
            "https://a.example/.well-known/oauth-authorization-server/realms/t",
            "https://a.example/.well-known/openid-configuration/realms/t",
            "https://a.example/realms/t/.well-known/openid-configuration",
        ];
        check("https://a.example/realms/t", &below);
        check("https://a.example/realms/t/", &below);
    }

    #[test]
    fn keys_are_kept_for_as_long_as_is_reasonable() {
        let check = |value: &str, minutes: u64| {
            let headers = HeaderMap::from_iter([(CACHE_CONTROL, value.parse().expect("a value"))]);
            assert_eq!(lifetime(&headers), Duration::from_secs(minutes * 60), "{value}");
        };
        check("public, max-age=3600, must-revalidate", 60);
        check("Max-Age=\"3600\"", 60);
        check("max-age=1", 5);
        check("max-age=0", 5);
        check("max-age=99999999", 24 * 60);
        check("no-store, max-age=3600", 5);
        check("no-cache", 5);
        check("max-age=soon", 10);
        check("max-age=-1", 10);
        check("public", 10);
        assert_eq!(lifetime(&HeaderMap::new()), USUAL);
    }

    #[test]
    fn an_issuer_on_the_network_cannot_send_us_to_this_machine_without_tls() {
        let parse = |text: &str| Identifier::parse(text).expect("a name");
        let check = |issuer: &str, jwks_uri: &str, is_taken: bool| {
            let issuer = parse(issuer);
            let metadata = serde_json::json!({ "issuer": issuer.as_str(), "jwks_uri": jwks_uri }).to_string();
            let document = Document { headers: HeaderMap::new(), body: metadata.as_bytes().into() };
            let issuer = Issuer::new(&Settings::new(issuer, &parse("https://x.example")));
            assert_eq!(issuer.jwks_uri(&document).is_ok(), is_taken, "{jwks_uri}");
        };
        check("https://a.example", "https://keys.example/a", true);
        check("https://a.example", "http://127.0.0.1/keys", false);
        check("http://127.0.0.1", "http://127.0.0.1/keys", true);
        check("http://127.0.0.1", "https://keys.example/a", true);
    }
}
