//! Keys that are made for a test, as an issuer publishes them and as it signs with them.

use std::sync::OnceLock;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding,
    RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// Every algorithm that tokens may be signed with.
pub(super) const ALGORITHMS: [&str; 11] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"];

/// A key with its name.
pub(super) struct Signer {
    kid: String,
    secret: Secret,
}

enum Secret {
    Rsa(&'static RsaKeyPair),
    Elliptic(EcdsaKeyPair, &'static str),
    Edwards(Ed25519KeyPair),
}

impl Signer {
    /// A key for this algorithm. RSA takes long to make, so all tests share one.
    pub(super) fn new(algorithm: &str, kid: &str) -> Self {
        static RSA: OnceLock<RsaKeyPair> = OnceLock::new();
        let elliptic = |how: &'static EcdsaSigningAlgorithm, curve| {
            Secret::Elliptic(EcdsaKeyPair::generate(how).expect("a key"), curve)
        };
        let secret = match algorithm {
            "ES256" => elliptic(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"),
            "ES256 in ASN.1" => elliptic(&ECDSA_P256_SHA256_ASN1_SIGNING, "P-256"),
            "ES384" => elliptic(&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"),
            "ES512" => elliptic(&ECDSA_P521_SHA512_FIXED_SIGNING, "P-521"),
            "EdDSA" | "Ed25519" => Secret::Edwards(Ed25519KeyPair::generate().expect("a key")),
            _ => Secret::Rsa(RSA.get_or_init(|| RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"))),
        };
        Self { kid: kid.to_owned(), secret }
    }

    /// The public key as it is published.
    pub(super) fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match &self.secret {
            Secret::Rsa(pair) => {
                // With 2048 bits and the usual exponent, both always lie at the same place.
                let der = pair.public_key().as_ref();
                json!({ "kty": "RSA", "kid": self.kid, "use": "sig", "n": text(&der[9..265]), "e": text(&der[267..]) })
            }
            Secret::Elliptic(pair, curve) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({ "kty": "EC", "kid": self.kid, "crv": curve, "x": text(x), "y": text(y) })
            }
            Secret::Edwards(pair) => {
                json!({ "kty": "OKP", "kid": self.kid, "crv": "Ed25519", "x": text(pair.public_key().as_ref()) })
            }
        }
    }

    /// The public key as bytes of the form in which it usually lies in files.
    pub(super) fn der(&self) -> &[u8] {
        match &self.secret {
            Secret::Rsa(pair) => pair.public_key().as_ref(),
            Secret::Elliptic(pair, _) => pair.public_key().as_ref(),
            Secret::Edwards(pair) => pair.public_key().as_ref(),
        }
    }

    /// A token by the book.
    pub(super) fn token(&self, algorithm: &str, claims: &Value) -> String {
        self.signed(algorithm, &json!({ "alg": algorithm, "kid": self.kid, "typ": "at+jwt" }), claims)
    }

    /// A token with this head, signed with this algorithm whatever the head says.
    pub(super) fn signed(&self, algorithm: &str, head: &Value, claims: &Value) -> String {
        let text = unsigned(head, claims);
        let signature = self.signature(algorithm, text.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn signature(&self, algorithm: &str, text: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.secret {
            Secret::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding(algorithm), &random, text, &mut signature).expect("a signature");
                signature
            }
            Secret::Elliptic(pair, _) => pair.sign(&random, text).expect("a signature").as_ref().to_vec(),
            Secret::Edwards(pair) => pair.sign(text).as_ref().to_vec(),
        }
    }
}

fn encoding(algorithm: &str) -> &'static dyn RsaEncoding {
    match algorithm {
        "RS384" => &RSA_PKCS1_SHA384,
        "RS512" => &RSA_PKCS1_SHA512,
        "PS256" => &RSA_PSS_SHA256,
        "PS384" => &RSA_PSS_SHA384,
        "PS512" => &RSA_PSS_SHA512,
        _ => &RSA_PKCS1_SHA256,
    }
}

/// Head and claims, without a signature.
pub(super) fn unsigned(head: &Value, claims: &Value) -> String {
    [head, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".")
}

/// A token whose signature is made with a shared secret.
pub(super) fn shared(secret: &[u8], head: &Value, claims: &Value) -> String {
    let text = unsigned(head, claims);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
}
