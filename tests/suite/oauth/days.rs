//! The issuer's bad days: it is not there yet, has gone, or does not answer.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use vision_providers::testkit::Play;
use visiongate::oauth::{Rejection, Settings, Verifier};
use visiongate::supervisor::Supervisor;

use super::realm::{KEYS, METADATA, Realm, verifier};
use super::signer::Signer;
use super::{pass, verified};

/// Long enough for the keys of an issuer that does not say how long they are good.
const LIFETIME: Duration = Duration::from_mins(10);

#[tokio::test]
async fn an_issuer_that_starts_later_is_found_soon() {
    let signer = Signer::new("ES256", "one");
    let realm = Realm::with(&[&signer]).await;
    realm.publish(METADATA, Play::Reset);
    let (verifier, token) = (realm.verifier(), signer.token("ES256", &realm.claims()));
    for _ in 0..20 {
        assert_eq!(verified(&verifier, &token).await, Err(Rejection::Unavailable));
    }
    assert_eq!(realm.asked(METADATA), 1);
    realm.publish(METADATA, Play::json(200, &realm.metadata()));
    pass(Duration::from_secs(5)).await;
    assert!(verified(&verifier, &token).await.is_ok());
}

#[tokio::test]
async fn nobody_listening_is_no_verdict_on_a_token() {
    let realm = Realm::with(&[]).await;
    // A port that nobody has.
    let jwks = Some("http://127.0.0.1:1/keys".parse().expect("a url"));
    let verifier = verifier(Settings { jwks, ..realm.settings() });
    let token = Signer::new("ES256", "one").token("ES256", &realm.claims());
    let rejection = verified(&verifier, &token).await.expect_err("no keys");
    assert_eq!((rejection.status().as_u16(), rejection.error()), (503, None));
}

#[tokio::test]
async fn old_keys_count_for_a_day_while_the_issuer_is_down() {
    let signer = Signer::new("ES256", "one");
    let realm = Realm::with(&[&signer]).await;
    let (verifier, token) = (realm.verifier(), signer.token("ES256", &realm.claims()));
    verified(&verifier, &token).await.expect("a good token");
    realm.publish(KEYS, Play::json(503, &json!({})));
    pass(LIFETIME).await;
    assert!(verified(&verifier, &token).await.is_ok());
    assert_eq!(realm.asked(KEYS), 2);
    pass(Duration::from_hours(24) - Duration::from_secs(5)).await;
    assert!(verified(&verifier, &token).await.is_ok());
    pass(Duration::from_secs(5)).await;
    assert_eq!(verified(&verifier, &token).await, Err(Rejection::Unavailable));
    realm.publish_keys(&[&signer]);
    pass(Duration::from_secs(5)).await;
    assert!(verified(&verifier, &token).await.is_ok());
}

#[tokio::test]
async fn who_has_old_keys_waits_once_for_an_issuer_that_hangs() {
    let signer = Signer::new("ES256", "one");
    let realm = Realm::with(&[&signer]).await;
    let (verifier, token) = (realm.verifier(), signer.token("ES256", &realm.claims()));
    verified(&verifier, &token).await.expect("a good token");
    realm.publish(KEYS, Play::Silence);
    pass(LIFETIME).await;
    let began = Instant::now();
    assert!(verified(&verifier, &token).await.is_ok());
    assert!(began.elapsed() >= Duration::from_secs(4), "{:?}", began.elapsed());
    let began = Instant::now();
    for _ in 0..3 {
        assert!(verified(&verifier, &token).await.is_ok());
        // Whatever that began gets as far as hanging.
        tokio::time::sleep(Duration::from_millis(50)).await;
        pass(Duration::from_secs(30)).await;
    }
    // Two more fetches hang by now, and nobody noticed.
    assert!(began.elapsed() < Duration::from_secs(90 + 2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_key_that_nobody_can_look_up_is_no_bad_one() {
    let (old, new) = (Signer::new("ES256", "old"), Signer::new("ES256", "new"));
    let realm = Realm::with(&[&old]).await;
    let verifier = realm.verifier();
    verified(&verifier, &old.token("ES256", &realm.claims())).await.expect("a good token");
    realm.publish(KEYS, Play::Reset);
    pass(Duration::from_secs(30)).await;
    let token = new.token("ES256", &realm.claims());
    assert_eq!(verified(&verifier, &token).await, Err(Rejection::Unavailable));
    assert_eq!(verified(&verifier, &token).await, Err(Rejection::Unavailable));
    assert_eq!(realm.asked(KEYS), 2);
    // A bad signature by a key that is known stays a bad one.
    let forged = new.signed("ES256", &json!({ "alg": "ES256", "kid": "old" }), &realm.claims());
    assert_eq!(verified(&verifier, &forged).await, Err(Rejection::BadSignature));
    assert!(verified(&verifier, &old.token("ES256", &realm.claims())).await.is_ok());
}

#[tokio::test]
async fn nobody_waits_beyond_their_deadline() {
    let realm = Realm::with(&[]).await;
    realm.publish(KEYS, Play::Silence);
    let (verifier, began) = (realm.verifier(), Instant::now());
    let token = Signer::new("ES256", "one").token("ES256", &realm.claims());
    let outcome = verifier.verify(&token, began + Duration::from_millis(200)).await;
    assert_eq!(outcome, Err(Rejection::Unavailable));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_fetch_ends_at_shutdown_and_lets_those_go_who_wait() {
    let realm = Realm::with(&[]).await;
    realm.publish(KEYS, Play::Silence);
    let supervisor = Supervisor::default();
    let verifier = Verifier::new(realm.settings(), supervisor.clone());
    let token = Signer::new("ES256", "one").token("ES256", &realm.claims());
    let began = Instant::now();
    let stop = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        supervisor.shut_down(Duration::from_secs(2)).await;
    };
    let (outcome, ()) = tokio::join!(verified(&verifier, &token), stop);
    assert_eq!(outcome, Err(Rejection::Unavailable));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}
