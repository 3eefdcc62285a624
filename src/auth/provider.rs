//! The cryptography behind `jsonwebtoken`: HS256 by `ring`, which is here for TLS already. The backends that the library
//! brings cost dozens of crates, most of them for algorithms that no token of ours has.

use std::sync::LazyLock;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey};
use ring::hmac;
use signature::{Error as SignatureError, Signer, Verifier};

/// The example of RFC 7515, appendix A.1: key, what is signed, signature.
const EXAMPLE: (&str, &str, &str) = (
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
     eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
    "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
);

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| Ok(Box::new(Hs256::new(*algorithm, key.family(), key.as_bytes())?)),
    verifier_factory: |algorithm, key: &DecodingKey| {
        Ok(Box::new(Hs256::new(*algorithm, key.family(), key.try_get_as_bytes()?)?))
    },
    // Only for keys that are written as JSON, which this server neither reads nor writes.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Installs the provider for this process, once, and checks it. Comes before the first token is signed or read.
///
/// # Errors
/// Signatures are not those of the standard.
pub(super) fn install() -> std::result::Result<(), String> {
    static CHECKED: LazyLock<bool> = LazyLock::new(|| {
        // No other code installs one; if some did, the check below judges it.
        let _ = PROVIDER.install_default();
        signs_as_the_standard().unwrap_or(false)
    });
    match *CHECKED {
        true => Ok(()),
        false => Err("the self-test of signatures failed: HS256 does not give the result of RFC 7515".to_owned()),
    }
}

fn signs_as_the_standard() -> Result<bool> {
    let (key, message, signature) = EXAMPLE;
    let key = BASE64URL_NOPAD.decode(key.as_bytes()).unwrap_or_default();
    let (sign, verify) = (EncodingKey::from_secret(&key)?, DecodingKey::from_secret(&key)?);
    let changed = message.replacen("eyJ", "eyK", 1);
    Ok(jsonwebtoken::crypto::sign(message.as_bytes(), &sign, Algorithm::HS256)? == signature
        && jsonwebtoken::crypto::verify(signature, message.as_bytes(), &verify, Algorithm::HS256)?
        && !jsonwebtoken::crypto::verify(signature, changed.as_bytes(), &verify, Algorithm::HS256)?)
}

struct Hs256(hmac::Key);

impl Hs256 {
    fn new(algorithm: Algorithm, family: AlgorithmFamily, secret: &[u8]) -> Result<Hs256> {
        if algorithm != Algorithm::HS256 {
            return Err(ErrorKind::InvalidAlgorithm.into());
        }
        if family != AlgorithmFamily::Hmac {
            return Err(ErrorKind::InvalidKeyFormat.into());
        }
        Ok(Hs256(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }
}

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, SignatureError> {
        Ok(hmac::sign(&self.0, message).as_ref().to_vec())
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), SignatureError> {
        // Takes the same time wherever they differ.
        hmac::verify(&self.0, message, signature).map_err(|_| SignatureError::new())
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hs256_is_signed_or_verified_and_only_with_a_secret() {
        install().expect("the self-test");
        let (sign, verify) = (EncodingKey::from_secret(b"a key"), DecodingKey::from_secret(b"a key"));
        let (sign, verify) = (sign.expect("a key"), verify.expect("a key"));
        for other in [Algorithm::HS384, Algorithm::HS512, Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
            assert!(jsonwebtoken::crypto::sign(b"text", &sign, other).is_err(), "{other:?}");
            assert!(jsonwebtoken::crypto::verify("AAAA", b"text", &verify, other).is_err(), "{other:?}");
        }
        let private = EncodingKey::from_rsa_der(b"a key");
        assert!(jsonwebtoken::crypto::sign(b"text", &private, Algorithm::HS256).is_err(), "no secret");
    }
}
