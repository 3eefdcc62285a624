//! Who somebody is: signed tokens and hashed passwords. Knows no transport and no database.

use std::collections::HashSet;
use std::fmt;
use std::iter;
use std::sync::{Arc, OnceLock};

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm as Argon2Kind, Argon2, Params, PasswordHash, Version};
use data_encoding::HEXLOWER;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;

use crate::catalogue::Sentence;
use crate::config::Config;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Actor, Micros, SessionId, Text, UserId};
use crate::pool::{Manner, Pool};
use crate::sentence;

mod foreign;
mod old;
mod provider;
mod secret;

pub use foreign::{Kept, kept, trimmed as imported_password};
pub use old::{OldKey, OldToken};

use foreign::Foreign;

/// How far ahead another node's clock may be when it dates a token, in seconds.
const CLOCK_SKEW_S: i64 = 5;
/// No token of ours comes near it; a longer one is not worth decoding.
const TOKEN_MAX: usize = 2048;
/// A password is common when it alone is one of this many best-known words of a list.
const COMMON_RANK: usize = 3000;
/// A password that a guesser who knows the lists has in this many tries is common too ("aaaaaaaa", "abcdefgh").
const COMMON_GUESSES: u64 = 10_000;

/// Microseconds in a second.
pub const SECOND: Micros = 1_000_000;

/// What signs and verifies.
pub struct Auth {
    signing: EncodingKey,
    former: Option<EncodingKey>,
    verifying: Vec<DecodingKey>,
    /// That of the Django service whose users came here, for a while.
    old: Option<OldKey>,
    validation: Validation,
    argon2: Argon2<'static>,
    /// Verified in place of the hash of a user who does not exist, so that both take the same time.
    nobody: Arc<OnceLock<String>>,
    pool: Pool,
    password_min: usize,
    password_max: usize,
}

/// Which of the two tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// Opens sockets and passes requests, for a short time.
    Access,
    /// Is exchanged for access tokens, for as long as the session lives.
    Refresh,
}

/// What a token says. A token with anything more is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// Which of the two it is.
    pub token_type: TokenKind,
    /// Until when, in seconds since 1970.
    pub exp: i64,
    /// Since when, in seconds since 1970.
    pub iat: i64,
    /// Its own name: 32 hexadecimal digits.
    pub jti: String,
    /// The user, as text like the libraries of today write it; an integer, as they wrote it before, is read too.
    #[serde(serialize_with = "as_text", deserialize_with = "text_or_number")]
    pub user_id: i64,
    /// The session.
    pub sid: i64,
}

impl Claims {
    /// Whom the token stands for.
    pub fn actor(&self) -> Actor {
        Actor { user: UserId(self.user_id), session: SessionId(self.sid), socket: None }
    }
}

/// A valid token that somebody shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// One that we signed.
    Ours(Claims),
    /// One that the Django service signed.
    Old(OldToken),
}

/// Why a token is refused. The texts are those that clients of the Django API know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFault {
    /// Not ours, changed, or not a token at all.
    Invalid,
    /// Its time is over.
    Expired,
    /// An access token where a refresh token belongs, or the reverse.
    WrongType,
    /// Its session was ended, or it was replaced.
    Ended,
    /// It names no user.
    Nobody,
}

impl TokenFault {
    /// The sentence.
    pub fn sentence(self) -> Sentence {
        match self {
            TokenFault::Invalid => sentence!("token-invalid"),
            TokenFault::Expired => sentence!("token-expired"),
            TokenFault::WrongType => sentence!("token-wrong-type"),
            TokenFault::Ended => sentence!("token-ended"),
            TokenFault::Nobody => sentence!("token-nobody"),
        }
    }
}

impl From<TokenFault> for Error {
    fn from(fault: TokenFault) -> Error {
        Error::new(ErrorCode::InvalidCredentials, fault.sentence())
    }
}

impl Auth {
    /// Settles the signing key and starts the hashing threads.
    ///
    /// # Errors
    /// A sentence that says what to do.
    pub fn open(config: &Config) -> std::result::Result<Auth, String> {
        provider::install()?;
        let key = secret::settle(config)?;
        let (signing, verify) = keys(&key)?;
        let mut verifying = vec![verify];
        let mut former = None;
        let previous = config.previous_secret.expose();
        if !previous.is_empty() {
            secret::judge(previous, "previous_secret")?;
            let (sign, verify) = keys(previous)?;
            verifying.push(verify);
            former = Some(sign);
        }
        let mut validation = Validation::new(Algorithm::HS256);
        // Times are judged by the server's clock, below; the library would read its own.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        let params = Params::new(config.argon2_memory_kib, config.argon2_passes, 1, None)
            .map_err(|cause| format!("argon2_memory_kib and argon2_passes cannot be used: {cause}"))?;
        Ok(Auth {
            signing,
            former,
            verifying,
            old: None,
            validation,
            argon2: Argon2::new(Argon2Kind::Argon2id, Version::V0x13, params),
            nobody: Arc::new(OnceLock::new()),
            pool: Pool::start(Manner {
                name: "duet-hash",
                threads: config.hash_workers,
                queue: config.hash_queue,
                gives_way: false,
                share: 100,
            })?,
            password_min: config.password_min,
            password_max: config.password_max,
        })
    }

    /// Also takes the tokens of the service that its users came from.
    pub fn with_old_key(self, old: Option<OldKey>) -> Auth {
        Auth { old, ..self }
    }

    /// Signs a token. The same claims give the same bytes.
    pub fn sign(&self, claims: &Claims) -> Result<String> {
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &self.signing).map_err(Error::internal)
    }

    /// Reads a token, and refuses it unless every part of it is as we would have written it.
    pub fn read(&self, token: &str, kind: TokenKind, now: Micros) -> std::result::Result<Claims, TokenFault> {
        if token.len() > TOKEN_MAX {
            return Err(TokenFault::Invalid);
        }
        let claims = self.verifying.iter().find_map(|key| self.read_with(token, key).transpose());
        let claims = claims.ok_or(TokenFault::Invalid)??;
        if claims.token_type != kind {
            return Err(TokenFault::WrongType);
        }
        let now = now / SECOND;
        if claims.iat > now + CLOCK_SKEW_S || claims.exp < claims.iat {
            return Err(TokenFault::Invalid);
        }
        if claims.exp <= now {
            return Err(TokenFault::Expired);
        }
        Ok(claims)
    }

    /// Reads a token of ours, or one of the service before us: only what none of our keys takes is shown to the old one.
    pub fn read_any(&self, token: &str, kind: TokenKind, now: Micros) -> std::result::Result<Shown, TokenFault> {
        match (self.read(token, kind, now), &self.old) {
            (Err(TokenFault::Invalid), Some(old)) if token.len() <= TOKEN_MAX => {
                let read = old.read(token, &self.validation, kind, now).unwrap_or(Err(TokenFault::Invalid));
                read.map(Shown::Old)
            }
            (read, _) => read.map(Shown::Ours),
        }
    }

    /// `None` where another key may have signed it.
    fn read_with(&self, token: &str, key: &DecodingKey) -> std::result::Result<Option<Claims>, TokenFault> {
        match jsonwebtoken::decode::<Claims>(token, key, &self.validation) {
            // A header that names a key or an algorithm of its choice (kid, jku, jwk, ...) is not ours.
            Ok(data) if data.header == Header::new(Algorithm::HS256) => Ok(Some(data.claims)),
            Ok(_) => Err(TokenFault::Invalid),
            Err(cause) if matches!(cause.kind(), ErrorKind::InvalidSignature) => Ok(None),
            Err(cause) if matches!(cause.kind(), ErrorKind::Json(_)) && self.names_nobody(token, key) => {
                Err(TokenFault::Nobody)
            }
            Err(_) => Err(TokenFault::Invalid),
        }
    }

    /// Whether a token of ours says everything but whose it is.
    fn names_nobody(&self, token: &str, key: &DecodingKey) -> bool {
        let told = jsonwebtoken::decode::<serde_json::Map<String, serde_json::Value>>(token, key, &self.validation);
        told.is_ok_and(|told| !told.claims.contains_key("user_id"))
    }

    /// The name of the refresh token that replaces another. The same for the same rotation, so that a client whose
    /// answer was lost can be given it again; not to be guessed without the key.
    pub fn successor(&self, jti: &str, rotated_at: Micros) -> Result<String> {
        self.keyed_digest(&format!("successor of {jti} at {rotated_at}"))
    }

    /// What is kept of the place where an account signed in. Without the key nobody finds the place by trying all that
    /// there are, or two accounts of one place.
    pub fn origin(&self, account: &str, place: impl fmt::Display) -> Result<Text> {
        self.keyed_digest(&format!("origin of {account} at {place}")).map(Text::without_nul)
    }

    /// Keys for another purpose, which tell nothing of those that they are made from: the one to sign with, then that of
    /// `previous_secret`, if there is one.
    pub fn derived_keys(&self, purpose: &str) -> Result<Vec<String>> {
        let said = format!("key for {purpose}");
        let keys = iter::once(&self.signing).chain(&self.former);
        let keys = keys.map(|key| jsonwebtoken::crypto::sign(said.as_bytes(), key, Algorithm::HS256));
        keys.collect::<std::result::Result<_, _>>().map_err(Error::internal)
    }

    fn keyed_digest(&self, message: &str) -> Result<String> {
        let mac = jsonwebtoken::crypto::sign(message.as_bytes(), &self.signing, Algorithm::HS256);
        Ok(HEXLOWER.encode(&Sha256::digest(mac.map_err(Error::internal)?)[..16]))
    }

    /// Judges a new password: length, and that it is not one that anybody would try first.
    pub async fn judge(&self, password: &str, username: &str) -> Result<()> {
        self.check_size(password)?;
        let password = canonical(password);
        if password.contains('\0') {
            return Err(Error::field("password", sentence!("control-characters")));
        }
        if password.chars().count() < self.password_min {
            return Err(Error::field("password", sentence!("password-short", min = self.password_min)));
        }
        let username = username.to_owned();
        match self.pool.run(move || is_common(&password, &username)).await? {
            true => Err(Error::field("password", sentence!("password-common"))),
            false => Ok(()),
        }
    }

    /// Hashes a password, on a thread of its own.
    pub async fn hash(&self, password: &str) -> Result<String> {
        self.check_size(password)?;
        let (argon2, password) = (self.argon2.clone(), canonical(password));
        let hash = self.pool.run(move || hash(&argon2, &password)).await?;
        hash.map_err(Error::internal)
    }

    /// Whether a password belongs to a hash, ours or one of Django's; to `None` none does. `None` and ours take the same
    /// path and time. Hashes that were made before passwords had one form match in the forms of then.
    pub async fn verify(&self, password: &str, stored: Option<&str>) -> Result<bool> {
        self.check_size(password)?;
        let (argon2, forms, stored) = (self.argon2.clone(), forms(password), stored.map(str::to_owned));
        let nobody = Arc::clone(&self.nobody);
        let judged = self.pool.run(move || {
            let stored = stored.as_deref();
            if let Some(foreign) = stored.and_then(Foreign::parse) {
                return forms.iter().any(|password| foreign.verify(password));
            }
            let ours = stored.and_then(|stored| PasswordHash::new(stored).ok());
            let known = ours.is_some();
            // Made at the first login of all, known or not, so that no later one differs. It also stands in where
            // there is nothing that a password could belong to.
            let nobody = nobody.get_or_init(|| hash(&argon2, "nobody has this password").unwrap_or_default());
            let judged = ours.or_else(|| PasswordHash::new(nobody).ok());
            let fits =
                |password: &String, hash: &PasswordHash| argon2.verify_password(password.as_bytes(), hash).is_ok();
            judged.is_some_and(|hash| forms.iter().any(|password| fits(password, &hash))) && known
        });
        Ok(judged.await?)
    }

    fn check_size(&self, password: &str) -> Result<()> {
        if password.len() > self.password_max {
            return Err(Error::too_long("password", self.password_max, "bytes"));
        }
        Ok(())
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").finish_non_exhaustive()
    }
}

/// A secret as what signs and what verifies.
fn keys(secret: &str) -> std::result::Result<(EncodingKey, DecodingKey), String> {
    let (sign, verify) = (EncodingKey::from_secret(secret.as_bytes()), DecodingKey::from_secret(secret.as_bytes()));
    Ok((sign.map_err(|cause| cause.to_string())?, verify.map_err(|cause| cause.to_string())?))
}

/// The one form in which a password is hashed: composed (NFC), as keyboards differ in how they write an accent, and with
/// all of its spaces.
fn canonical(password: &str) -> String {
    if password.is_ascii() { password.to_owned() } else { password.nfc().collect() }
}

/// A password as it may have been hashed: as it is today, as it was typed, taken apart; and each without the spaces at its
/// ends, which the HTTP API took away. Most have one form only.
fn forms(password: &str) -> Vec<String> {
    let mut forms = vec![canonical(password), password.to_owned(), password.nfd().collect()];
    let trimmed: Vec<String> = forms.iter().map(|form| form.trim().to_owned()).collect();
    forms.extend(trimmed);
    let mut seen = HashSet::new();
    forms.retain(|form| seen.insert(form.clone()));
    forms
}

fn hash(argon2: &Argon2<'_>, password: &str) -> std::result::Result<String, argon2::password_hash::Error> {
    Ok(argon2.hash_password(password.as_bytes())?.to_string())
}

fn is_common(password: &str, username: &str) -> bool {
    use zxcvbn::matching::patterns::MatchPattern;
    let judged = zxcvbn::zxcvbn(password, &[username]);
    let one_word = match judged.sequence() {
        [one] => matches!(&one.pattern, MatchPattern::Dictionary(word) if word.rank <= COMMON_RANK),
        _ => false,
    };
    one_word || judged.guesses() <= COMMON_GUESSES
}

/// A new name for a token: 128 random bits.
pub fn new_jti() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(Error::internal)?;
    Ok(HEXLOWER.encode(&bytes))
}

/// SHA-256 in hexadecimal digits. What is kept of a refresh token, so that the database does not hold one.
pub fn digest(text: &str) -> Text {
    Text::without_nul(HEXLOWER.encode(&Sha256::digest(text)))
}

fn as_text<S: Serializer>(id: &i64, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<i64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Id {
        Number(i64),
        Text(String),
    }
    match Id::deserialize(deserializer)? {
        Id::Number(id) => Ok(id),
        Id::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

#[cfg(test)]
mod tests;
