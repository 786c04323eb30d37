//! The key with which the tokens of service accounts are signed: ECDSA over P-256 (`ES256`), and nothing else, so that
//! no token chooses how it is verified.

use std::fmt::Write as _;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::error::{KeyRejected, Unspecified};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::{self, PemObject as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The longest token that is looked at; ours have about a kilobyte.
const LONGEST: usize = 16 * 1024;

const ALGORITHM: &str = "ES256";

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No key could be made.
    #[error("make a key")]
    Generate(#[source] Unspecified),
    /// The file is no PEM.
    #[error("read a PKCS #8 key")]
    Pem(#[source] pem::Error),
    /// It is no key for `ES256`.
    #[error("use the key for ES256")]
    Rejected(#[source] KeyRejected),
}

/// Signs and verifies.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    pkcs8: Vec<u8>,
    id: String,
}

impl SigningKey {
    /// A new key.
    pub fn generate() -> Result<Self, KeyError> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        Self::from_pkcs8(document.map_err(KeyError::Generate)?.as_ref())
    }

    /// The key of a PEM file.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(KeyError::Pem)?;
        Self::from_pkcs8(der.secret_pkcs8_der())
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).map_err(KeyError::Rejected)?;
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(KeyError::Generate)?;
        let id = URL_SAFE_NO_PAD.encode(Sha256::digest(public.as_ref()));
        Ok(Self { pair, pkcs8: der.to_vec(), id })
    }

    /// The key as a PEM file.
    pub fn to_pem(&self) -> String {
        let mut pem = "-----BEGIN PRIVATE KEY-----\n".to_owned();
        for line in STANDARD.encode(&self.pkcs8).as_bytes().chunks(64) {
            // Base64 is text.
            let _ = writeln!(pem, "{}", String::from_utf8_lossy(line));
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        pem
    }

    /// The public key, as a JSON Web Key Set.
    pub fn key_set(&self) -> Value {
        // An uncompressed point: a byte that says so, and two numbers of 32 bytes.
        let point = self.pair.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        json!({"keys": [{
            "use": "sig",
            "kty": "EC",
            "kid": self.id,
            "crv": "P-256",
            "alg": ALGORITHM,
            "x": URL_SAFE_NO_PAD.encode(x),
            "y": URL_SAFE_NO_PAD.encode(y),
        }]})
    }

    /// A token of these claims.
    pub fn sign(&self, claims: &impl Serialize) -> Option<String> {
        let header = json!({"alg": ALGORITHM, "kid": self.id}).to_string();
        let claims = serde_json::to_vec(claims).ok()?;
        let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.pair.sign(&SystemRandom::new(), text.as_bytes()).ok()?;
        Some(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The claims of a token, if this key has signed it. What they say is not judged.
    pub fn verify<T: DeserializeOwned>(&self, token: &str) -> Option<T> {
        if token.len() > LONGEST {
            return None;
        }
        let (text, signature) = token.rsplit_once('.')?;
        let (header, claims) = text.split_once('.')?;
        let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        if header["alg"] != ALGORITHM || header["kid"] != self.id.as_str() || !header["crit"].is_null() {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key().as_ref());
        public.verify(text.as_bytes(), &signature).ok()?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_key_only_and_only_as_it_was_signed() {
        let key = SigningKey::generate().unwrap();
        let again = SigningKey::from_pem(key.to_pem().as_bytes()).unwrap();
        let token = key.sign(&json!({"sub": "a"})).unwrap();
        assert_eq!(again.verify::<Value>(&token).unwrap(), json!({"sub": "a"}));
        assert_eq!(SigningKey::generate().unwrap().verify::<Value>(&token), None, "of another key");
        let parts: Vec<&str> = token.split('.').collect();
        let other = URL_SAFE_NO_PAD.encode(json!({"sub": "b"}).to_string());
        let none = URL_SAFE_NO_PAD.encode(json!({"alg": "none", "kid": key.id}).to_string());
        let hmac = URL_SAFE_NO_PAD.encode(json!({"alg": "HS256", "kid": key.id}).to_string());
        for forged in [
            format!("{}.{other}.{}", parts[0], parts[2]),
            format!("{none}.{}.", parts[1]),
            format!("{hmac}.{}.{}", parts[1], parts[2]),
            format!("{}.{}.", parts[0], parts[1]),
            format!("{}.{}", parts[0], parts[1]),
            format!("{token}."),
            String::new(),
            "..".to_owned(),
            "a".repeat(LONGEST + 1),
        ] {
            assert_eq!(key.verify::<Value>(&forged), None, "{forged}");
        }
        assert!(SigningKey::from_pem(b"no key").is_err());
    }
}
