//! Keys that come and go, and crowds that ask for them.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use vision_providers::testkit::Play;
use visiongate::oauth::Rejection;

use super::realm::{KEYS, Realm, keys};
use super::signer::Signer;
use super::{pass, verified};

const PAUSE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_crowd_before_the_first_keys_makes_one_fetch() {
    let signer = Signer::new("ES256", "one");
    let realm = Realm::with(&[&signer]).await;
    realm.publish(KEYS, Play::json(200, &keys(&[&signer])).after(Duration::from_millis(100)));
    let (verifier, token) = (realm.verifier(), signer.token("ES256", &realm.claims()));
    let mut crowd = JoinSet::new();
    for _ in 0..200 {
        let (verifier, token) = (verifier.clone(), token.clone());
        crowd.spawn(async move { verified(&verifier, &token).await.is_ok() });
    }
    assert!(crowd.join_all().await.into_iter().all(|is_in| is_in));
    assert_eq!(realm.calls(), 2);
}

#[tokio::test]
async fn a_thousand_unknown_keys_make_one_fetch() {
    let (signer, stranger) = (Signer::new("ES256", "one"), Signer::new("ES256", "none"));
    let realm = Realm::with(&[&signer]).await;
    let (verifier, token) = (realm.verifier(), signer.token("ES256", &realm.claims()));
    verified(&verifier, &token).await.expect("a good token");
    pass(PAUSE).await;
    realm.publish(KEYS, Play::json(200, &keys(&[&signer])).after(Duration::from_secs(1)));
    let mut crowd = JoinSet::new();
    for number in 0..1000 {
        let head = json!({ "alg": "ES256", "kid": format!("made up {number}") });
        let (verifier, token) = (verifier.clone(), stranger.signed("ES256", &head, &realm.claims()));
        crowd.spawn(async move { verified(&verifier, &token).await });
    }
    tokio::task::yield_now().await;
    // Those whose key is known do not wait for that.
    let began = Instant::now();
    assert!(verified(&verifier, &token).await.is_ok());
    assert!(began.elapsed() < Duration::from_millis(800), "{:?}", began.elapsed());
    let outcomes = crowd.join_all().await;
    assert!(outcomes.iter().all(|outcome| *outcome == Err(Rejection::UnknownKey)));
    assert_eq!(realm.asked(KEYS), 2);
    // And nobody asks again for half a minute.
    pass(Duration::from_secs(28)).await;
    assert_eq!(verified(&verifier, &stranger.token("ES256", &realm.claims())).await, Err(Rejection::UnknownKey));
    assert_eq!(realm.asked(KEYS), 2);
}

#[tokio::test]
async fn a_new_key_is_found_when_its_first_token_comes() {
    let (old, new) = (Signer::new("ES256", "old"), Signer::new("RS256", "new"));
    let realm = Realm::with(&[&old]).await;
    let verifier = realm.verifier();
    verified(&verifier, &old.token("ES256", &realm.claims())).await.expect("a good token");
    realm.publish_keys(&[&new]);
    pass(PAUSE).await;
    assert!(verified(&verifier, &new.token("RS256", &realm.claims())).await.is_ok());
    assert_eq!(verified(&verifier, &old.token("ES256", &realm.claims())).await, Err(Rejection::UnknownKey));
    assert_eq!(realm.asked(KEYS), 2);
}

#[tokio::test]
async fn a_new_key_under_an_old_name_is_found_too() {
    let (old, new) = (Signer::new("ES256", "one"), Signer::new("ES256", "one"));
    let realm = Realm::with(&[&old]).await;
    let verifier = realm.verifier();
    verified(&verifier, &old.token("ES256", &realm.claims())).await.expect("a good token");
    realm.publish_keys(&[&new]);
    assert_eq!(verified(&verifier, &new.token("ES256", &realm.claims())).await, Err(Rejection::BadSignature));
    pass(PAUSE).await;
    assert!(verified(&verifier, &new.token("ES256", &realm.claims())).await.is_ok());
    assert_eq!(verified(&verifier, &old.token("ES256", &realm.claims())).await, Err(Rejection::BadSignature));
}

#[tokio::test]
async fn a_key_that_was_taken_back_counts_for_ten_minutes_at_most() {
    let (old, new) = (Signer::new("ES256", "old"), Signer::new("ES256", "new"));
    let realm = Realm::with(&[&old]).await;
    let (verifier, token) = (realm.verifier(), old.token("ES256", &realm.claims()));
    verified(&verifier, &token).await.expect("a good token");
    realm.publish_keys(&[&new]);
    pass(Duration::from_mins(7)).await;
    assert!(verified(&verifier, &token).await.is_ok());
    assert_eq!(realm.asked(KEYS), 1);
    pass(Duration::from_mins(3)).await;
    assert_eq!(verified(&verifier, &token).await, Err(Rejection::UnknownKey));
    assert_eq!(realm.asked(KEYS), 2);
}

#[tokio::test]
async fn an_issuer_that_takes_all_keys_back_is_believed() {
    let signer = Signer::new("ES256", "one");
    let realm = Realm::with(&[&signer]).await;
    let (verifier, token) = (realm.verifier(), signer.token("ES256", &realm.claims()));
    verified(&verifier, &token).await.expect("a good token");
    realm.publish_keys(&[]);
    pass(Duration::from_mins(10)).await;
    assert_eq!(verified(&verifier, &token).await, Err(Rejection::UnknownKey));
}

#[tokio::test]
async fn keys_are_renewed_in_passing_before_they_are_too_old() {
    let signer = Signer::new("ES256", "one");
    let realm = Realm::with(&[&signer]).await;
    let cached = || Play::json(200, &keys(&[&signer])).header("cache-control", "max-age=3600");
    realm.publish(KEYS, cached());
    let (verifier, token) = (realm.verifier(), signer.token("ES256", &realm.claims()));
    verified(&verifier, &token).await.expect("a good token");
    pass(Duration::from_mins(44)).await;
    assert!(verified(&verifier, &token).await.is_ok());
    assert_eq!(realm.calls(), 2);
    realm.publish(KEYS, cached().after(Duration::from_secs(1)));
    pass(Duration::from_mins(2)).await;
    let began = Instant::now();
    assert!(verified(&verifier, &token).await.is_ok());
    assert!(began.elapsed() < Duration::from_millis(800), "{:?}", began.elapsed());
    // It lands whether or not anybody waits for it, and then the hour begins anew.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(realm.asked(KEYS), 2);
    pass(Duration::from_mins(44)).await;
    assert!(verified(&verifier, &token).await.is_ok());
    assert_eq!(realm.asked(KEYS), 2);
}

#[tokio::test]
async fn a_caller_who_leaves_does_not_end_the_fetch() {
    let signer = Signer::new("ES256", "one");
    let realm = Realm::with(&[&signer]).await;
    realm.publish(KEYS, Play::json(200, &keys(&[&signer])).after(Duration::from_millis(300)));
    let (verifier, token) = (realm.verifier(), signer.token("ES256", &realm.claims()));
    let left = timeout(Duration::from_millis(100), verified(&verifier, &token)).await;
    assert!(left.is_err());
    assert!(verified(&verifier, &token).await.is_ok());
    assert_eq!(realm.calls(), 2);
}
