//! What a client reads to learn how to get a token: the challenge in `WWW-Authenticate` (RFC 6750) and the document that it
//! points to (RFC 9728).

use serde_json::{Value, json};
use url::Url;

use super::identifier::Identifier;
use super::rejection::Rejection;

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// The value of `WWW-Authenticate` for a request without a token, which by RFC 6750 is told of no error. It names all
/// scopes that are needed, so that one round is enough.
#[must_use]
pub fn challenge(metadata: &Url, scopes: &[String]) -> String {
    header(&[], metadata, scopes)
}

/// The same for a request whose token was rejected.
#[must_use]
pub fn challenge_after(rejection: Rejection, metadata: &Url, scopes: &[String]) -> String {
    let Some(error) = rejection.error() else { return challenge(metadata, scopes) };
    header(&[("error", error), ("error_description", rejection.description())], metadata, scopes)
}

fn header(error: &[(&str, &str)], metadata: &Url, scopes: &[String]) -> String {
    let scopes = scopes.join(" ");
    let mut parameters = [error, &[("resource_metadata", metadata.as_str())]].concat();
    if !scopes.is_empty() {
        parameters.push(("scope", &scopes));
    }
    let written: Vec<String> =
        parameters.into_iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
    format!("Bearer {}", written.join(", "))
}

/// A quoted string that ends where it should, in any header.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            ' '..='~' => quoted.push(character),
            _ => quoted.push('?'),
        }
    }
    quoted.push('"');
    quoted
}

/// The document about a protected resource.
#[must_use]
pub fn protected_resource_metadata(resource: &Identifier, issuer: &Identifier, scopes: &[String]) -> Value {
    let mut document = json!({
        "resource": resource.as_str(),
        "authorization_servers": [issuer.as_str()],
        "bearer_methods_supported": ["header"],
    });
    if !scopes.is_empty() {
        document["scopes_supported"] = json!(scopes);
    }
    document
}

/// Where clients look for that document: at the root, and where the resource's own path is part of it.
#[must_use]
pub fn metadata_paths(resource: &Identifier) -> Vec<String> {
    let mut paths = vec![WELL_KNOWN.to_owned()];
    if resource.url().path() != "/" {
        paths.push(format!("{WELL_KNOWN}{}", resource.url().path()));
    }
    paths
}

/// The address of that document, for challenges: the more specific one.
#[must_use]
pub fn metadata_url(resource: &Identifier) -> Url {
    let mut url = resource.url().clone();
    url.set_path(metadata_paths(resource).last().map_or(WELL_KNOWN, String::as_str));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(text: &str) -> Identifier {
        Identifier::parse(text).expect(text)
    }

    #[test]
    fn who_sends_no_token_learns_where_to_get_one() {
        let metadata = metadata_url(&resource("https://mcp.example.com/mcp"));
        let scopes = ["vision:read".to_owned(), "vision:batch".to_owned()];
        assert_eq!(
            challenge(&metadata, &scopes),
            "Bearer resource_metadata=\"https://mcp.example.com/.well-known/oauth-protected-resource/mcp\", \
             scope=\"vision:read vision:batch\""
        );
        assert!(!challenge(&metadata, &[]).contains("scope"));
    }

    #[test]
    fn a_rejected_token_is_told_why() {
        let metadata = metadata_url(&resource("https://mcp.example.com"));
        let challenge = |rejection| challenge_after(rejection, &metadata, &["a".to_owned()]);
        assert_eq!(
            challenge(Rejection::Expired),
            "Bearer error=\"invalid_token\", error_description=\"the token has expired\", \
             resource_metadata=\"https://mcp.example.com/.well-known/oauth-protected-resource\", scope=\"a\""
        );
        assert!(challenge(Rejection::InsufficientScope).starts_with("Bearer error=\"insufficient_scope\", "));
        // The token is not at fault, so no client should throw it away.
        assert!(!challenge(Rejection::Unavailable).contains("error"));
    }

    #[test]
    fn nothing_breaks_out_of_its_quotes() {
        let scopes = ["a\" b\\\r\nX-Injected: ä".to_owned()];
        let challenge = challenge(&metadata_url(&resource("https://a.example")), &scopes);
        assert!(challenge.ends_with(r#"scope="a\" b\\??X-Injected: ?""#), "{challenge}");
        assert!(http::HeaderValue::from_str(&challenge).is_ok());
    }

    #[test]
    fn the_document_stands_where_clients_look() {
        let check = |text: &str, paths: &[&str], url: &str| {
            assert_eq!(metadata_paths(&resource(text)), paths);
            assert_eq!(metadata_url(&resource(text)).as_str(), url);
        };
        let (root, below) = ("/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/a/mcp");
        check("https://x.example", &[root], "https://x.example/.well-known/oauth-protected-resource");
        check("https://x.example:8443/", &[root], "https://x.example:8443/.well-known/oauth-protected-resource");
        let url = "https://x.example/.well-known/oauth-protected-resource/a/mcp";
        check("https://x.example/a/mcp", &[root, below], url);
    }

    #[test]
    fn the_document_names_resource_and_issuer_as_they_are_written() {
        let (resource, issuer) = (resource("https://x.example/mcp"), resource("https://auth.example"));
        assert_eq!(
            protected_resource_metadata(&resource, &issuer, &["vision:read".to_owned()]),
            json!({
                "resource": "https://x.example/mcp",
                "authorization_servers": ["https://auth.example"],
                "bearer_methods_supported": ["header"],
                "scopes_supported": ["vision:read"],
            })
        );
        assert!(protected_resource_metadata(&resource, &issuer, &[]).get("scopes_supported").is_none());
    }
}
