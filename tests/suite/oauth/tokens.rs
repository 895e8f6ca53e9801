//! Single tokens: the good ones of every kind, and the tricks that are known.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::StatusCode;
use serde_json::{Value, json};
use visiongate::oauth::{Rejection, Settings};

use super::realm::{KEYS, RESOURCE, Realm, verifier};
use super::signer::{ALGORITHMS, Signer, shared, unsigned};
use super::{NOW, verified};

#[tokio::test]
async fn tokens_of_every_algorithm_are_verified() {
    let signers = ALGORITHMS.map(|algorithm| Signer::new(algorithm, algorithm));
    let realm = Realm::with(&signers.each_ref()).await;
    let verifier = realm.verifier();
    for (algorithm, signer) in ALGORITHMS.into_iter().zip(&signers) {
        let principal = verified(&verifier, &signer.token(algorithm, &realm.claims())).await;
        let principal = principal.unwrap_or_else(|rejection| panic!("{algorithm}: {rejection}"));
        assert_eq!(principal.name, format!("ada@{}", realm.issuer()));
        assert_eq!(principal.scopes, ["vision:read", "openid"]);
    }
    assert_eq!(realm.asked(KEYS), 1);
}

#[tokio::test]
async fn no_signature_passes_for_one_of_another_algorithm() {
    let signers = ALGORITHMS.map(|algorithm| Signer::new(algorithm, "one"));
    let realm = Realm::with(&signers.each_ref()).await;
    let verifier = realm.verifier();
    for (made_with, signer) in ALGORITHMS.into_iter().zip(&signers) {
        let same = |claimed: &str| claimed == made_with;
        for claimed in ALGORITHMS.into_iter().filter(|claimed| !same(claimed)) {
            let head = json!({ "alg": claimed, "kid": "one" });
            let outcome = verified(&verifier, &signer.signed(made_with, &head, &realm.claims())).await;
            // Two names of the same thing are none that differ.
            let is_alias = claimed.starts_with("Ed") && made_with.starts_with("Ed");
            assert_eq!(outcome.is_ok(), is_alias, "{made_with} as {claimed}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn a_public_key_is_no_shared_secret() {
    let signer = Signer::new("RS256", "one");
    let realm = Realm::with(&[&signer]).await;
    let verifier = realm.verifier();
    let pem = format!(
        "-----BEGIN RSA PUBLIC KEY-----\n{}\n-----END RSA PUBLIC KEY-----\n",
        STANDARD.encode(signer.der()).as_bytes().chunks(64).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\n")
    );
    let jwk = signer.jwk();
    let modulus = jwk["n"].as_str().expect("a modulus");
    let raw = URL_SAFE_NO_PAD.decode(modulus).expect("base64");
    let secrets: [&[u8]; 6] = [signer.der(), pem.as_bytes(), pem.trim().as_bytes(), modulus.as_bytes(), &raw, b""];
    for secret in secrets {
        for algorithm in ["HS256", "HS384", "HS512", "hs256"] {
            let token = shared(secret, &json!({ "alg": algorithm, "kid": "one" }), &realm.claims());
            assert!(matches!(verified(&verifier, &token).await, Err(Rejection::Malformed(_))), "{algorithm}");
        }
        let token = shared(secret, &json!({ "alg": "RS256", "kid": "one" }), &realm.claims());
        assert_eq!(verified(&verifier, &token).await, Err(Rejection::BadSignature));
    }
}

#[tokio::test]
async fn a_shared_secret_that_is_published_is_no_key() {
    let realm = Realm::with(&[]).await;
    let key = json!({ "kty": "oct", "kid": "one", "k": URL_SAFE_NO_PAD.encode("secret"), "alg": "HS256" });
    realm.publish(KEYS, vision_providers::testkit::Play::json(200, &json!({ "keys": [key] })));
    let verifier = realm.verifier();
    for (algorithm, is_read) in [("HS256", false), ("RS256", true)] {
        let token = shared(b"secret", &json!({ "alg": algorithm, "kid": "one" }), &realm.claims());
        let outcome = verified(&verifier, &token).await;
        assert_eq!(outcome == Err(Rejection::UnknownKey), is_read, "{algorithm}: {outcome:?}");
        assert!(outcome.is_err());
    }
}

#[tokio::test]
async fn a_token_without_a_signature_is_none() {
    let signer = Signer::new("ES256", "one");
    let realm = Realm::with(&[&signer]).await;
    let verifier = realm.verifier();
    for algorithm in ["none", "None", "NONE", "nOnE", ""] {
        let text = unsigned(&json!({ "alg": algorithm, "kid": "one" }), &realm.claims());
        for token in [format!("{text}."), text.clone(), format!("{text}.AAAA")] {
            assert!(matches!(verified(&verifier, &token).await, Err(Rejection::Malformed(_))), "{algorithm}");
        }
    }
    assert_eq!(realm.calls(), 0);
    let text = unsigned(&json!({ "alg": "ES256", "kid": "one" }), &realm.claims());
    for signature in ["", &URL_SAFE_NO_PAD.encode([0; 64])] {
        assert_eq!(verified(&verifier, &format!("{text}.{signature}")).await, Err(Rejection::BadSignature));
    }
}

#[tokio::test]
async fn a_changed_token_is_refused() {
    let signer = Signer::new("ES256", "one");
    let realm = Realm::with(&[&signer]).await;
    let verifier = realm.verifier();
    let token = signer.token("ES256", &realm.claims());
    let mut parts: Vec<&str> = token.split('.').collect();
    let claims = URL_SAFE_NO_PAD.encode(realm.claims_with(&json!({ "sub": "eve" })).to_string());
    parts[1] = &claims;
    assert_eq!(verified(&verifier, &parts.join(".")).await, Err(Rejection::BadSignature));
    // A signature in the other form that there is for it.
    let other = Signer::new("ES256 in ASN.1", "two");
    realm.publish_keys(&[&other]);
    let token = other.signed("ES256", &json!({ "alg": "ES256", "kid": "two" }), &realm.claims());
    assert_eq!(verified(&realm.verifier(), &token).await, Err(Rejection::BadSignature));
}

#[tokio::test]
async fn keys_that_a_token_brings_along_are_not_looked_at() {
    let (ours, theirs) = (Signer::new("ES256", "one"), Signer::new("ES256", "one"));
    let realm = Realm::with(&[&ours]).await;
    let elsewhere = Realm::with(&[&theirs]).await;
    let verifier = realm.verifier();
    let address = elsewhere.url(KEYS);
    let head =
        json!({ "alg": "ES256", "kid": "one", "jwk": theirs.jwk(), "jku": address, "x5u": address, "x5c": ["x"] });
    let token = theirs.signed("ES256", &head, &realm.claims());
    assert_eq!(verified(&verifier, &token).await, Err(Rejection::BadSignature));
    let mut head = head;
    head["kid"] = json!(address);
    let token = theirs.signed("ES256", &head, &realm.claims());
    assert_eq!(verified(&verifier, &token).await, Err(Rejection::UnknownKey));
    assert_eq!(elsewhere.calls(), 0);
}

#[tokio::test]
async fn what_cannot_be_a_token_makes_nobody_ask() {
    let realm = Realm::with(&[]).await;
    let verifier = realm.verifier();
    let long = Signer::new("ES256", "one").token("ES256", &realm.claims_with(&json!({ "groups": "g".repeat(6200) })));
    let garbage = ["", "x", "a.b.c", "....", "\u{0}", "ключ.ключ.ключ", "Bearer x", &"A".repeat(1 << 20), &long];
    for token in garbage {
        let outcome = verified(&verifier, token).await.expect_err("no token");
        assert_eq!((outcome.status(), outcome.error()), (StatusCode::UNAUTHORIZED, Some("invalid_token")));
    }
    assert_eq!(realm.calls(), 0);
}

/// What is said of a token with these claims over good ones.
async fn outcome(settings: impl FnOnce(&mut Settings), changes: &Value) -> Result<String, Rejection> {
    let signer = Signer::new("EdDSA", "one");
    let realm = Realm::with(&[&signer]).await;
    let mut wanted = realm.settings();
    settings(&mut wanted);
    let principal = verified(&verifier(wanted), &signer.token("EdDSA", &realm.claims_with(changes))).await?;
    Ok(principal.name.replace(&realm.issuer(), "ISSUER"))
}

#[tokio::test]
async fn a_good_signature_is_not_enough() {
    let check = async |changes: Value, expected: Rejection| {
        assert_eq!(outcome(|_| {}, &changes).await, Err(expected), "{changes}");
    };
    check(json!({ "aud": "https://other.example.com" }), Rejection::WrongAudience).await;
    check(json!({ "aud": null }), Rejection::WrongAudience).await;
    check(json!({ "iss": "https://other.example.com" }), Rejection::WrongIssuer).await;
    check(json!({ "exp": NOW - 61 }), Rejection::Expired).await;
    check(json!({ "exp": null }), Rejection::Malformed("the token does not say when it expires")).await;
    check(json!({ "nbf": NOW + 61 }), Rejection::NotYet).await;
    let nameless = Rejection::Malformed("the token does not say whom it stands for");
    for sub in [Value::Null, json!(""), json!(7), json!(["ada"])] {
        check(json!({ "sub": sub }), nameless).await;
    }
    assert_eq!(
        outcome(|_| {}, &json!({ "aud": ["https://other.example.com", RESOURCE] })).await,
        Ok("ada@ISSUER".into())
    );
}

#[tokio::test]
async fn a_token_expires_while_the_clock_runs() {
    let signer = Signer::new("ES256", "one");
    let realm = Realm::with(&[&signer]).await;
    let now = Arc::new(AtomicU64::new(NOW));
    let clock = Arc::clone(&now);
    let verifier = realm.verifier().with_clock(move || Duration::from_secs(clock.load(Ordering::Relaxed)));
    let token = signer.token("ES256", &realm.claims());
    let mut outcomes = Vec::new();
    for seconds in [NOW, NOW + 359, NOW + 360, NOW - 60, NOW - 61] {
        now.store(seconds, Ordering::Relaxed);
        outcomes.push(verified(&verifier, &token).await.err());
    }
    assert_eq!(outcomes, [None, None, Some(Rejection::Expired), None, Some(Rejection::NotYet)]);
}

#[tokio::test]
async fn scopes_that_are_needed_have_to_be_there() {
    let needs = |scopes: &'static [&'static str]| {
        move |settings: &mut Settings| settings.scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect()
    };
    let good = Ok("ada@ISSUER".to_owned());
    let both = &["vision:read", "vision:batch"];
    assert_eq!(outcome(needs(&["vision:read"]), &json!({})).await, good);
    assert_eq!(outcome(needs(both), &json!({ "scope": null, "scp": ["vision:batch", "vision:read"] })).await, good);
    for changes in [json!({}), json!({ "scope": null }), json!({ "scope": "vision:reads Vision:read vision:batch" })] {
        let rejection = outcome(needs(both), &changes).await.expect_err("too little");
        assert_eq!((rejection, rejection.status()), (Rejection::InsufficientScope, StatusCode::FORBIDDEN));
    }
    // Who is not let in at all does not learn what is needed.
    let expired = json!({ "scope": null, "exp": NOW - 100 });
    assert_eq!(outcome(needs(both), &expired).await, Err(Rejection::Expired));
}

#[tokio::test]
async fn names_are_safe_whatever_people_are_called() {
    let names = |changes: Value| async move { outcome(|_| {}, &changes).await.expect("a name") };
    assert_eq!(names(json!({ "sub": "Zoë\r\nX: 1" })).await, "Zo%C3%AB%0D%0AX:%201@ISSUER");
    assert_eq!(names(json!({ "sub": "ada@ISSUER" })).await, "ada%40ISSUER@ISSUER");
    let long = names(json!({ "sub": "ü".repeat(500) })).await;
    assert!(long.starts_with('#') && long.len() == 65 + "@ISSUER".len(), "{long}");
    let by_client = outcome(|settings| settings.name_claim = "client_id".to_owned(), &json!({ "sub": null })).await;
    assert_eq!(by_client, Ok("inspector@ISSUER".to_owned()));
}
