//! Tokens that the Django service signed before the move. Its key verifies them until a date, and signs nothing.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde::Deserialize;

use super::{CLOCK_SKEW_S, SECOND, TokenFault, TokenKind, text_or_number};
use crate::config::Secret;
use crate::model::{Micros, UserId};

/// The key of the Django service, and until when its tokens are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldKey {
    /// The text of its `SECRET_KEY`.
    pub key: Secret,
    /// From then on no token of it is of any use.
    pub until: Micros,
}

/// What such a token says, as far as it matters; it may say more.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct OldClaims {
    token_type: TokenKind,
    exp: i64,
    iat: i64,
    jti: String,
    #[serde(deserialize_with = "text_or_number")]
    user_id: i64,
}

/// A valid token of the Django service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldToken {
    /// Whom it stands for.
    pub user: UserId,
    /// Its own name.
    pub jti: String,
    /// Until when it is valid, in seconds since 1970: its own end, or that of the key.
    pub exp: i64,
}

impl OldKey {
    /// Reads a token. `None` where this key did not sign it.
    pub(super) fn read(
        &self,
        token: &str,
        validation: &Validation,
        kind: TokenKind,
        now: Micros,
    ) -> Option<Result<OldToken, TokenFault>> {
        if self.until <= now {
            return None;
        }
        let key = DecodingKey::from_secret(self.key.expose().as_bytes()).ok()?;
        let claims = match jsonwebtoken::decode::<OldClaims>(token, &key, validation) {
            Ok(data) if data.header == Header::new(Algorithm::HS256) => data.claims,
            Err(cause) if matches!(cause.kind(), ErrorKind::InvalidSignature) => return None,
            _ => return Some(Err(TokenFault::Invalid)),
        };
        Some(self.judge(claims, kind, now / SECOND))
    }

    fn judge(&self, claims: OldClaims, kind: TokenKind, now_s: i64) -> Result<OldToken, TokenFault> {
        if claims.token_type != kind {
            return Err(TokenFault::WrongType);
        }
        if claims.iat > now_s + CLOCK_SKEW_S || claims.jti.is_empty() {
            return Err(TokenFault::Invalid);
        }
        if claims.exp <= now_s {
            return Err(TokenFault::Expired);
        }
        let exp = claims.exp.min(self.until / SECOND);
        Ok(OldToken { user: UserId(claims.user_id), jti: claims.jti, exp })
    }
}
