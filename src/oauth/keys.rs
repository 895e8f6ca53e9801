//! The keys that an issuer publishes (RFC 7517), and what each of them may be used for.
//!
//! Which algorithms there are for a key is decided by the kind of key, before any token is seen: a token chooses among
//! keys, and never how one is used. So there is nothing here that could take a public key for a shared secret, and no
//! signature that is `none`.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519, EcdsaVerificationAlgorithm,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
    RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use super::rejection::Rejection;
use super::token::Token;

/// An issuer with more keys than this is none that we know how to trust.
const MOST_KEYS: usize = 64;
/// RSA keys that are neither too weak (RFC 7518, section 3.3) nor so large that checking a signature takes long.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

const RSA: [(&str, &RsaParameters); 6] = [
    ("RS256", &RSA_PKCS1_2048_8192_SHA256),
    ("RS384", &RSA_PKCS1_2048_8192_SHA384),
    ("RS512", &RSA_PKCS1_2048_8192_SHA512),
    ("PS256", &RSA_PSS_2048_8192_SHA256),
    ("PS384", &RSA_PSS_2048_8192_SHA384),
    ("PS512", &RSA_PSS_2048_8192_SHA512),
];

/// Curve, algorithm, and bytes of a coordinate.
const ELLIPTIC: [(&str, &str, usize, &EcdsaVerificationAlgorithm); 3] = [
    ("P-256", "ES256", 32, &ECDSA_P256_SHA256_FIXED),
    ("P-384", "ES384", 48, &ECDSA_P384_SHA384_FIXED),
    ("P-521", "ES512", 66, &ECDSA_P521_SHA512_FIXED),
];

/// The name that issuers use, and the one that RFC 9864 gave the same thing since.
const EDWARDS: [&str; 2] = ["EdDSA", "Ed25519"];

/// Whether tokens may be signed with the algorithm of this name at all.
pub(super) fn is_accepted(algorithm: &str) -> bool {
    RSA.iter().any(|(name, _)| *name == algorithm)
        || ELLIPTIC.iter().any(|(_, name, _, _)| *name == algorithm)
        || EDWARDS.contains(&algorithm)
}

/// The keys of an issuer that can be used.
#[derive(Debug)]
pub(super) struct KeySet(Vec<Key>);

/// A key for one algorithm. One that the issuer publishes for several is here once for each.
#[derive(Debug)]
struct Key {
    id: Option<String>,
    algorithm: &'static str,
    verifying: ParsedPublicKey,
}

impl KeySet {
    /// Reads what an issuer publishes. Keys that cannot be used, or are for something else, are passed over: another
    /// program may need them. An issuer that publishes no key at all has taken all of them back.
    pub(super) fn read(document: &[u8]) -> Result<Self, String> {
        let published: Published =
            serde_json::from_slice(document).map_err(|_| "what should be its keys is no key set".to_owned())?;
        if published.keys.len() > MOST_KEYS {
            return Err(format!("it publishes more than {MOST_KEYS} keys"));
        }
        let readable = published.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        Ok(Self(readable.flat_map(|jwk| jwk.keys()).collect()))
    }

    /// Whether there is no key that could verify anything.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the token is signed with one of these keys.
    pub(super) fn verify(&self, token: &Token<'_>) -> Result<(), Rejection> {
        let is_named = |key: &Key| token.key_id().is_none() || token.key_id() == key.id.as_deref();
        let fitting: Vec<&Key> =
            self.0.iter().filter(|key| key.algorithm == token.algorithm() && is_named(key)).collect();
        if token.key_id().is_none() && fitting.len() > 1 {
            return Err(Rejection::Malformed("the token does not name its key, and our issuer has several"));
        }
        if fitting.is_empty() {
            return Err(Rejection::UnknownKey);
        }
        // Several keys of one name, which RFC 7517 advises against, are tried one after the other.
        let fits = fitting.iter().any(|key| key.verifying.verify_sig(token.signed(), token.signature()).is_ok());
        if fits { Ok(()) } else { Err(Rejection::BadSignature) }
    }
}

#[derive(Deserialize)]
struct Published {
    keys: Vec<Value>,
}

/// A key as it is published.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
}

impl Jwk {
    /// The key, for each algorithm that it may be used with.
    fn keys(&self) -> Vec<Key> {
        let verifies = self.purpose.as_ref().is_none_or(|purpose| purpose == "sig")
            && self.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|it| it == "verify"));
        if !verifies {
            return Vec::new();
        }
        let keys = match self.kty.as_str() {
            "RSA" => self.rsa(),
            "EC" => self.elliptic(),
            "OKP" => self.edwards(),
            _ => None,
        };
        let is_meant = |algorithm: &str| self.alg.as_ref().is_none_or(|alg| alg == algorithm);
        let keys = keys.unwrap_or_default().into_iter().filter(|(algorithm, _)| is_meant(algorithm));
        keys.map(|(algorithm, key)| Key { id: self.kid.clone(), algorithm, verifying: key }).collect()
    }

    fn rsa(&self) -> Option<Vec<(&'static str, ParsedPublicKey)>> {
        let (n, e) = (decoded(&self.n)?, decoded(&self.e)?);
        // Some issuers write the sign that numbers have in other formats.
        let (n, e) = (unsigned(&n), unsigned(&e));
        let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
        if !RSA_BITS.contains(&bits) {
            return None;
        }
        let components = RsaPublicKeyComponents { n, e };
        RSA.into_iter().map(|(name, how)| Some((name, components.to_parsed_public_key(how).ok()?))).collect()
    }

    fn elliptic(&self) -> Option<Vec<(&'static str, ParsedPublicKey)>> {
        let (_, name, size, how) = ELLIPTIC.into_iter().find(|(curve, ..)| self.crv.as_deref() == Some(*curve))?;
        let (x, y) = (decoded(&self.x)?, decoded(&self.y)?);
        if x.len() != size || y.len() != size {
            return None;
        }
        // A point in the form that is not compressed.
        let point = [&[4], x.as_slice(), y.as_slice()].concat();
        Some(vec![(name, ParsedPublicKey::new(how, point).ok()?)])
    }

    fn edwards(&self) -> Option<Vec<(&'static str, ParsedPublicKey)>> {
        if self.crv.as_deref() != Some("Ed25519") {
            return None;
        }
        let x = decoded(&self.x).filter(|x| x.len() == 32)?;
        EDWARDS.into_iter().map(|name| Some((name, ParsedPublicKey::new(&ED25519, &x).ok()?))).collect()
    }
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// A number without zeros in front.
fn unsigned(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The key of RFC 7515, appendix A.2.
    const N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pC\
gNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxv\
b3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
    /// That of A.3, and that of RFC 8037, appendix A.
    const X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    const Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
    const ED: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    const PAYLOAD: &str =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

    fn rs256() -> String {
        let signature = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujG\
bds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwu\
sC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
        format!("eyJhbGciOiJSUzI1NiJ9.{PAYLOAD}.{signature}")
    }

    fn es256() -> String {
        let signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
        format!("eyJhbGciOiJFUzI1NiJ9.{PAYLOAD}.{signature}")
    }

    fn ed25519() -> String {
        let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        format!("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.{signature}")
    }

    fn set(keys: &Value) -> KeySet {
        KeySet::read(json!({ "keys": keys }).to_string().as_bytes()).expect("a key set")
    }

    fn verified(keys: &Value, text: &str) -> Result<(), Rejection> {
        set(keys).verify(&Token::read(text).unwrap_or_else(|rejection| panic!("{rejection}: {text}")))
    }

    #[test]
    fn the_examples_of_the_standards_are_good() {
        let keys = json!([
            { "kty": "RSA", "n": N, "e": "AQAB" },
            { "kty": "EC", "crv": "P-256", "x": X, "y": Y },
            { "kty": "OKP", "crv": "Ed25519", "x": ED },
        ]);
        for token in [rs256(), es256(), ed25519()] {
            assert_eq!(verified(&keys, &token), Ok(()));
            // The last character holds spare bits, the one before it none.
            let (head, tail) = token.split_at(token.len() - 2);
            let other = if tail.starts_with('A') { 'B' } else { 'A' };
            assert_eq!(verified(&keys, &format!("{head}{other}{}", &tail[1..])), Err(Rejection::BadSignature));
        }
    }

    #[test]
    fn a_key_that_is_for_something_else_is_passed_over() {
        let base = json!({ "kty": "RSA", "n": N, "e": "AQAB" });
        let check = |changes: Value, expected: Result<(), Rejection>| {
            let mut key = base.as_object().expect("an object").clone();
            key.extend(changes.as_object().expect("an object").clone());
            assert_eq!(verified(&json!([key]), &rs256()), expected, "{changes}");
        };
        let passed_over = Err(Rejection::UnknownKey);
        check(
            json!({ "use": "sig", "alg": "RS256", "key_ops": ["verify"], "kid": "a", "x5c": ["x"], "more": 1 }),
            Ok(()),
        );
        check(json!({ "use": "enc" }), passed_over);
        check(json!({ "key_ops": ["encrypt"] }), passed_over);
        check(json!({ "alg": "RS512" }), passed_over);
        check(json!({ "alg": "RSA-OAEP-256" }), passed_over);
        check(json!({ "alg": "HS256" }), passed_over);
        check(json!({ "kty": "oct", "k": N }), passed_over);
        check(json!({ "kty": "rsa" }), passed_over);
        check(json!({ "kty": 7 }), passed_over);
        check(json!({ "n": "" }), passed_over);
        check(json!({ "n": "!" }), passed_over);
        check(json!({ "e": "" }), passed_over);
        // Of some 1024 bits, and of some 16 000.
        check(json!({ "n": &N[..172] }), passed_over);
        check(json!({ "n": N.repeat(8) }), passed_over);
    }

    #[test]
    fn a_modulus_may_have_its_sign_in_front() {
        let n = URL_SAFE_NO_PAD.encode([&[0], decoded(N).expect("base64").as_slice()].concat());
        assert_eq!(verified(&json!([{ "kty": "RSA", "n": n, "e": "AQAB" }]), &rs256()), Ok(()));
    }

    #[test]
    fn a_point_that_is_not_on_its_curve_is_no_key() {
        let check = |crv: &str, x: &str, y: &str| {
            let keys = json!([{ "kty": "EC", "crv": crv, "x": x, "y": y }]);
            assert_eq!(verified(&keys, &es256()), Err(Rejection::UnknownKey), "{crv} {x} {y}");
        };
        check("P-256", X, X);
        check("P-256", X, "");
        check("P-256", &X[..42], &Y[..42]);
        check("P-384", X, Y);
        check("secp256k1", X, Y);
        check("Ed25519", X, Y);
    }

    #[test]
    fn a_token_without_a_name_of_its_key_needs_a_key_that_is_alone() {
        let rsa = |kid: &str| json!({ "kty": "RSA", "n": N, "e": "AQAB", "kid": kid });
        let other = json!({ "kty": "EC", "crv": "P-256", "x": X, "y": Y, "kid": "c" });
        assert_eq!(verified(&json!([rsa("a"), other]), &rs256()), Ok(()));
        let outcome = verified(&json!([rsa("a"), rsa("b")]), &rs256());
        assert!(matches!(outcome, Err(Rejection::Malformed(_))), "{outcome:?}");
    }

    #[test]
    fn only_a_key_set_is_a_key_set() {
        for document in ["", "{}", "[]", "null", r#"{"keys":{}}"#, r#"{"keys":null}"#, "<html>", "\u{0}"] {
            assert!(KeySet::read(document.as_bytes()).is_err(), "{document}");
        }
        let keys = |count: usize| json!({ "keys": vec![json!({ "kty": "oct" }); count] }).to_string();
        assert!(KeySet::read(keys(64).as_bytes()).expect("a key set").is_empty());
        assert!(KeySet::read(keys(65).as_bytes()).is_err());
        assert!(set(&json!([])).is_empty());
        assert!(set(&json!([null, 7, "x", [], {}, { "kty": "RSA" }])).is_empty());
    }
}
