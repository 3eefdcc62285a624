//! Tokens as anybody may sign them who has a key, or makes one up.

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, Header};
use ring::hmac;
use serde_json::Value;

/// A token with this header and these claims.
///
/// # Panics
/// When the header asks for an algorithm that no story needs.
pub fn signed(header: &Header, claims: &Value, key: &str) -> String {
    let algorithm = match header.alg {
        Algorithm::HS256 => hmac::HMAC_SHA256,
        Algorithm::HS512 => hmac::HMAC_SHA512,
        other => panic!("no story signs with {other:?}"),
    };
    let header = serde_json::to_string(header).expect("a header is JSON");
    let [header, claims] = [header, claims.to_string()].map(|part| BASE64URL_NOPAD.encode(part.as_bytes()));
    let message = format!("{header}.{claims}");
    let signature = hmac::sign(&hmac::Key::new(algorithm, key.as_bytes()), message.as_bytes());
    format!("{message}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
}
