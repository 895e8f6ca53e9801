//! Where keys are looked for, and what is not believed on the way.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, pause, resume};
use url::Url;
use vision_providers::testkit::{Play, Then};
use visiongate::oauth::{Rejection, Settings};

use super::realm::{KEYS, METADATA, OPENID, Realm, keys, verifier};
use super::signer::Signer;
use super::verified;

/// A redirection to this address.
fn redirect(to: &str) -> Play {
    Play::json(302, &json!({})).header("location", to)
}

#[tokio::test]
async fn either_document_leads_to_the_keys() {
    let signer = Signer::new("ES256", "one");
    for document in [METADATA, OPENID] {
        let realm = Realm::new().await;
        realm.publish(document, Play::json(200, &realm.metadata()));
        realm.publish_keys(&[&signer]);
        let token = signer.token("ES256", &realm.claims());
        assert!(verified(&realm.verifier(), &token).await.is_ok(), "{document}");
    }
}

#[tokio::test]
async fn an_issuer_with_a_path_keeps_its_documents_in_three_places() {
    let signer = Signer::new("ES256", "one");
    let places = ["oauth-authorization-server/realms/a", "openid-configuration/realms/a"];
    let places = places.map(|place| format!("/.well-known/{place}"));
    let own = "/realms/a/.well-known/openid-configuration".to_owned();
    for (before, document) in places.into_iter().chain([own]).enumerate() {
        let realm = Realm::below("/realms/a").await;
        realm.publish(&document, Play::json(200, &realm.metadata()));
        realm.publish_keys(&[&signer]);
        let token = signer.token("ES256", &realm.claims());
        assert!(verified(&realm.verifier(), &token).await.is_ok(), "{document}");
        assert_eq!(realm.calls(), before + 2);
    }
}

#[tokio::test]
async fn a_configured_address_needs_no_document() {
    let signer = Signer::new("ES256", "one");
    let realm = Realm::new().await;
    realm.publish_keys(&[&signer]);
    let jwks = Some(realm.url(KEYS).parse().expect("a url"));
    let verifier = verifier(Settings { jwks, ..realm.settings() });
    assert!(verified(&verifier, &signer.token("ES256", &realm.claims())).await.is_ok());
    assert_eq!(realm.calls(), 1);
}

#[tokio::test]
async fn a_proxy_leads_to_the_network_and_not_to_this_machine() {
    let signer = Signer::new("ES256", "one");
    let (realm, proxy) = (Realm::with(&[&signer]).await, Realm::new().await);
    let through = Some(proxy.url("/").parse().expect("a url"));
    let token = signer.token("ES256", &realm.claims());
    let here = Settings { proxy: through.clone(), ..realm.settings() };
    assert!(verified(&verifier(here), &token).await.is_ok());
    assert_eq!(proxy.calls(), 0);
    let jwks = Some("https://keys.example.com/all".parse().expect("a url"));
    let away = Settings { proxy: through, jwks, ..realm.settings() };
    assert_eq!(verified(&verifier(away), &token).await, Err(Rejection::Unavailable));
    assert_eq!(proxy.calls(), 1);
}

#[tokio::test]
async fn an_issuer_speaks_for_itself_only() {
    let signer = Signer::new("ES256", "one");
    let realm = Realm::with(&[&signer]).await;
    let token = signer.token("ES256", &realm.claims());
    let other =
        [realm.url("/"), realm.url("/x"), realm.issuer().to_uppercase(), "https://a.example".into(), String::new()];
    for issuer in other {
        let mut metadata = realm.metadata();
        metadata["issuer"] = json!(issuer);
        realm.publish(METADATA, Play::json(200, &metadata));
        assert_eq!(verified(&realm.verifier(), &token).await, Err(Rejection::Unavailable), "{issuer}");
    }
    assert_eq!(realm.asked(KEYS), 0);
    // Another of its documents may still be right.
    realm.publish(OPENID, Play::json(200, &realm.metadata()));
    assert!(verified(&realm.verifier(), &token).await.is_ok());
}

#[tokio::test]
async fn keys_are_not_fetched_from_where_they_could_be_changed_on_the_way() {
    let realm = Realm::with(&[]).await;
    let token = Signer::new("ES256", "one").token("ES256", &realm.claims());
    let address = Url::parse(&realm.url(KEYS)).expect("a url");
    let mut with_password = address.clone();
    with_password.set_username("eve").expect("a name");
    let addresses =
        [json!("http://192.0.2.1/keys"), json!(with_password.as_str()), json!("file:///etc/passwd"), Value::Null];
    for address in addresses.into_iter().chain([json!("/keys"), json!("")]) {
        let mut metadata = realm.metadata();
        metadata["jwks_uri"] = address.clone();
        realm.publish(METADATA, Play::json(200, &metadata));
        let began = Instant::now();
        assert_eq!(verified(&realm.verifier(), &token).await, Err(Rejection::Unavailable), "{address}");
        assert!(began.elapsed() < Duration::from_secs(2), "{address} was tried");
    }
    assert_eq!(realm.asked(KEYS), 0);
}

#[tokio::test]
async fn redirections_are_not_followed() {
    let signer = Signer::new("ES256", "one");
    let realm = Realm::with(&[&signer]).await;
    realm.publish("/elsewhere", Play::json(200, &keys(&[&signer])));
    realm.publish("/documents", Play::json(200, &realm.metadata()));
    let token = signer.token("ES256", &realm.claims());
    realm.publish(KEYS, redirect(&realm.url("/elsewhere")));
    assert_eq!(verified(&realm.verifier(), &token).await, Err(Rejection::Unavailable));
    realm.publish(METADATA, redirect(&realm.url("/documents")));
    assert_eq!(verified(&realm.verifier(), &token).await, Err(Rejection::Unavailable));
    assert_eq!((realm.asked("/elsewhere"), realm.asked("/documents")), (0, 0));
}

/// What is said of a good token when this is what comes instead of keys.
async fn with_keys(signer: &Signer, play: Play) -> Option<Rejection> {
    let realm = Realm::with(&[]).await;
    realm.publish(KEYS, play);
    verified(&realm.verifier(), &signer.token("ES256", &realm.claims())).await.err()
}

#[tokio::test]
async fn key_sets_have_bounds() {
    let signer = Signer::new("ES256", "one");
    let padded = |bytes: usize| {
        let mut document = keys(&[&signer]);
        document["padding"] = json!("x".repeat(bytes));
        Play::json(200, &document)
    };
    let many = |count: usize| {
        let mut all = vec![json!({ "kty": "oct" }); count - 1];
        all.push(signer.jwk());
        Play::json(200, &json!({ "keys": all }))
    };
    assert_eq!(with_keys(&signer, padded(250 << 10)).await, None);
    assert_eq!(with_keys(&signer, padded(256 << 10)).await, Some(Rejection::Unavailable));
    assert_eq!(with_keys(&signer, many(64)).await, None);
    assert_eq!(with_keys(&signer, many(65)).await, Some(Rejection::Unavailable));
    let head = b"HTTP/1.1 200 X\r\n\r\n{\"keys\":[".to_vec();
    let endless = Play::Endless(head, vec![b' '; 64 << 10], Duration::ZERO);
    assert_eq!(with_keys(&signer, endless).await, Some(Rejection::Unavailable));
}

#[tokio::test]
async fn whatever_else_comes_is_no_key_set() {
    let signer = Signer::new("ES256", "one");
    let good = keys(&[&signer]);
    let cut = Play::Raw(format!("HTTP/1.1 200 X\r\ncontent-length: 9999\r\n\r\n{good}").into_bytes());
    let plays = [
        Play::json(404, &good),
        Play::json(500, &good),
        Play::json(204, &json!({})),
        Play::json(200, &json!({})),
        Play::json(200, &good["keys"]),
        Play::Reply(200, vec![], b"<html>down for maintenance</html>".to_vec()),
        Play::Reply(200, vec![], vec![]),
        Play::Raw(b"not http at all\r\n\r\n".to_vec()),
        cut,
        Play::Reset,
    ];
    for play in plays {
        let what = format!("{play:?}");
        assert_eq!(with_keys(&signer, play).await, Some(Rejection::Unavailable), "{what}");
    }
}

#[tokio::test]
async fn slow_keys_are_given_up_after_five_seconds() {
    let signer = Signer::new("ES256", "one");
    let slow = Play::Drip(b"HTTP/1.1 200 X\r\n\r\n{\"keys\":[".repeat(99), Duration::from_millis(100), Then::Hang);
    for play in [slow, Play::Silence, Play::Stall] {
        let realm = Realm::with(&[]).await;
        realm.publish(KEYS, play);
        let (verifier, token) = (realm.verifier(), signer.token("ES256", &realm.claims()));
        // With nothing else to do, a clock that stands still jumps to whatever is waited for.
        pause();
        let began = Instant::now();
        let outcome = verified(&verifier, &token).await;
        let took = began.elapsed();
        resume();
        assert_eq!(outcome, Err(Rejection::Unavailable));
        assert!(took <= Duration::from_millis(5010), "{took:?}");
    }
}
