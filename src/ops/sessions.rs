//! Signing in, staying signed in, signing out.

use std::net::IpAddr;

use super::accounts::confirm;
use super::{foreign, personal};
use crate::app::App;
use crate::auth::{Claims, Kept, SECOND, Shown, TokenFault, TokenKind, digest, imported_password, kept, new_jti};
use crate::bus::Notice;
use crate::error::{CloseCode, Error, ErrorCode, Result};
use crate::hub::Which;
use crate::limits::Prefix;
use crate::model::{Actor, Micros, PersonalKind, SessionId, Text, UserId};
use crate::protocol::commands::{AuthRefresh, SessionRevoke};
use crate::protocol::replies::{Done, Renewed, Sessions};
use crate::sentence;
use crate::store::sessions::{self, NewSession, Stored};
use crate::store::{Conn, Purpose, accounts, streams};
use crate::text::username_key;

/// Longest label of a session, in characters.
const LABEL_MAX: usize = 150;
/// How long an address prefix that an account signed in from counts as known to it: 30 days.
const KNOWN_FOR: Micros = 30 * 86_400 * SECOND;

/// Somebody who showed a valid access token.
#[derive(Debug, Clone)]
pub struct Authenticated {
    /// Who acts.
    pub actor: Actor,
    /// The user's name.
    pub username: String,
    /// When the token ends.
    pub expires_at: Micros,
}

/// What somebody shows to sign in.
#[derive(Debug)]
pub struct Login<'a> {
    /// The name, in any case.
    pub username: &'a Text,
    /// The password.
    pub password: &'a str,
    /// What the client calls itself.
    pub label: &'a str,
    /// Where it comes from.
    pub address: IpAddr,
}

/// A new session.
#[derive(Debug)]
pub struct LoggedIn {
    /// The user and the session.
    pub actor: Actor,
    /// Opens sockets and passes requests.
    pub access: String,
    /// Is exchanged for access tokens.
    pub refresh: String,
}

/// Signs in: checks the password and opens a session.
pub async fn login(app: &App, input: Login<'_>) -> Result<LoggedIn> {
    // One sentence for a wrong password, an unknown name and a disabled account.
    let refused = || Error::new(ErrorCode::InvalidCredentials, sentence!("no-account"));
    let key = username_key(input.username);
    let origin = app.auth.origin(&key, Prefix::of(input.address))?;
    let (found, known) = {
        let mut conn = app.store.read(Purpose::SignIn).await?;
        let known = sessions::began_from(&mut conn, &key, &origin, app.now() - KNOWN_FOR).await?;
        (accounts::credentials(&mut conn, input.username, &key).await?, known)
    };
    let attempt = app.limits.login(&key, input.address, known).map_err(Error::rate_limited)?;
    // One path for known and unknown: the same work, the same answer.
    match app.auth.verify(input.password, found.as_ref().map(|found| found.password_hash.as_str())).await {
        Ok(true) => {}
        Ok(false) => {
            tracing::info!(known = found.is_some(), "login refused");
            return Err(refused());
        }
        Err(error) => {
            attempt.undone();
            return Err(error);
        }
    }
    attempt.succeeded();
    // A password that came with an import is kept as ours from here on.
    let renewed = match &found {
        Some(found) if kept(&found.password_hash) == Kept::Foreign => {
            Some(Text::without_nul(app.auth.hash(imported_password(input.password)).await?))
        }
        _ => None,
    };
    let now = app.now();
    let mut tx = app.store.begin(Purpose::SignIn).await?;
    if let Some(found) = &found {
        accounts::lock(&mut tx, &[found.user]).await?;
    }
    // The password may have been changed, or the account disabled, while the hash was computed.
    let still = accounts::credentials(&mut tx, input.username, &key).await?.filter(|still| !still.disabled);
    let verified = found.map(|found| found.password_hash);
    let still = still.filter(|still| Some(&still.password_hash) == verified.as_ref()).ok_or_else(refused)?;
    if let Some(hash) = renewed {
        accounts::set_password_hash(&mut tx, still.user, &hash).await?;
    }
    let label: String = input.label.chars().filter(|char| !char.is_control()).take(LABEL_MAX).collect();
    let label = Text::without_nul(label);
    let (jti, expires_at) = (new_jti()?, session_end(app, now, now));
    let new = NewSession { user: still.user, label: &label, origin: &origin, refresh_hash: &digest(&jti), expires_at };
    let session = sessions::insert(&mut tx, &new, now).await?;
    let actor = Actor { user: still.user, session, socket: None };
    accounts::touch(&mut tx, actor.user, now).await?;
    let entry = streams::append_personal(&mut tx, actor.user, PersonalKind::SessionStarted, session.0, now).await?;
    let logged_in = LoggedIn {
        actor,
        access: access_token(app, actor, now, expires_at)?.0,
        refresh: refresh_token(app, actor, jti, now, expires_at)?,
    };
    app.commit(tx, vec![Notice::Personal { user: actor.user, entry }]).await?;
    tracing::info!(user = %actor.user, %session, "signed in");
    Ok(logged_in)
}

/// Judges an access token and the session it belongs to.
pub async fn authenticate(app: &App, token: &str) -> Result<Authenticated> {
    let now = app.now();
    let Held { actor, exp, .. } = held(app, token, TokenKind::Access, now).await?;
    let found = sessions::find(&mut app.store.read(Purpose::Session(actor.user)).await?, actor.session).await?;
    let stored = usable(found, actor, now)?;
    let expires_at = exp.saturating_mul(SECOND);
    Ok(Authenticated { actor, username: stored.username, expires_at })
}

/// A valid token, and the session it belongs to.
struct Held {
    actor: Actor,
    jti: String,
    exp: i64,
}

async fn held(app: &App, token: &str, kind: TokenKind, now: Micros) -> Result<Held> {
    Ok(match app.auth.read_any(token, kind, now)? {
        Shown::Ours(claims) => Held { actor: claims.actor(), exp: claims.exp, jti: claims.jti },
        Shown::Old(old) => Held { actor: foreign::session(app, &old, kind, now).await?, exp: old.exp, jti: old.jti },
    })
}

/// Whether a session still stands. A socket asks again once it is registered: what ended its session before that was
/// told to nobody.
pub async fn stands(app: &App, actor: Actor) -> Result<bool> {
    let found = sessions::find(&mut app.store.read(Purpose::Session(actor.user)).await?, actor.session).await?;
    Ok(usable(found, actor, app.now()).is_ok())
}

/// Renews the credentials of an open socket: by a new access token, or by the refresh token.
pub async fn auth_refresh(app: &App, actor: Actor, input: AuthRefresh) -> Result<Renewed> {
    match (input.token, input.refresh) {
        (Some(token), None) => {
            let shown = authenticate(app, &token).await?;
            check_same(actor, shown.actor)?;
            Ok(Renewed { access: None, refresh: None, expires_at: shown.expires_at })
        }
        (None, Some(refresh_token)) => refresh(app, &refresh_token, input.rotate, Some(actor)).await,
        _ => Err(Error::field("token", sentence!("one-token"))),
    }
}

fn check_same(actor: Actor, shown: Actor) -> Result<()> {
    match actor.is_same_session(shown) {
        true => Ok(()),
        false => Err(Error::new(ErrorCode::InvalidCredentials, sentence!("other-session"))),
    }
}

/// Exchanges a refresh token for an access token, and for its successor where `rotate` asks for that.
///
/// A token that was replaced ends its session, since two hold it now and one of them is a thief. Except for a moment,
/// because the answer with its successor may have been lost: as long as nobody has used the successor, whoever shows the
/// replaced token gets that same successor. If both are used, the session ends.
pub async fn refresh(app: &App, token: &str, rotate: bool, only: Option<Actor>) -> Result<Renewed> {
    let now = app.now();
    let Held { actor, jti: shown_jti, .. } = held(app, token, TokenKind::Refresh, now).await?;
    if let Some(only) = only {
        check_same(only, actor)?;
    }
    let mut tx = app.store.begin(Purpose::Session(actor.user)).await?;
    // Of several that show the same token at once, the later ones see what the first one made of it.
    accounts::lock(&mut tx, &[actor.user]).await?;
    let stored = usable(sessions::find(&mut tx, actor.session).await?, actor, now)?;
    let shown = digest(&shown_jti);
    let refresh;
    let mut expires_at = stored.expires_at;
    if shown == stored.refresh_hash && rotate {
        expires_at = session_end(app, stored.created_at, now);
        let jti = app.auth.successor(&shown_jti, now)?;
        sessions::rotate(&mut tx, actor.session, &digest(&jti), now, expires_at).await?;
        refresh = Some(refresh_token(app, actor, jti, now, expires_at)?);
    } else if shown == stored.refresh_hash {
        sessions::use_refresh(&mut tx, actor.session, now).await?;
        refresh = None;
    } else if let Some(rotated_at) = lost_answer(app, &stored, &shown, now) {
        let jti = app.auth.successor(&shown_jti, rotated_at)?;
        refresh = Some(refresh_token(app, actor, jti, rotated_at, expires_at)?);
    } else {
        let notices = end(&mut tx, actor.user, actor.session, now).await?;
        app.commit(tx, notices).await?;
        tracing::warn!(user = %actor.user, session = %actor.session, "a replaced refresh token was used: session ended");
        return Err(TokenFault::Ended.into());
    }
    accounts::touch(&mut tx, actor.user, now).await?;
    let (access, access_expires_at) = access_token(app, actor, now, expires_at)?;
    app.commit(tx, Vec::new()).await?;
    Ok(Renewed { access: Some(access), refresh, expires_at: access_expires_at })
}

/// When the token was replaced, if that was a moment ago and nobody has used its successor.
fn lost_answer(app: &App, stored: &Stored, shown: &str, now: Micros) -> Option<Micros> {
    let unused = stored.previous_hash.as_deref() == Some(shown) && stored.refresh_used_at.is_none();
    let soon = |at: &Micros| now - at <= app.config.rotation_retry_s.saturating_mul(SECOND);
    stored.rotated_at.filter(soon).filter(|_| unused)
}

/// Whether tokens of a user are of any use.
pub(super) fn check_user(gone: bool, disabled: bool) -> Result<()> {
    if gone {
        return Err(Error::new(ErrorCode::InvalidCredentials, sentence!("user-gone")));
    }
    if disabled {
        return Err(Error::new(ErrorCode::InvalidCredentials, sentence!("user-disabled")));
    }
    Ok(())
}

/// A session that tokens may be used with.
fn usable(found: Option<Stored>, actor: Actor, now: Micros) -> Result<Stored> {
    let stored = found.filter(|stored| stored.user == actor.user).ok_or(TokenFault::Invalid)?;
    check_user(stored.deleted, stored.disabled)?;
    if stored.ended_at.is_some() {
        return Err(TokenFault::Ended.into());
    }
    if stored.expires_at <= now {
        return Err(TokenFault::Expired.into());
    }
    Ok(stored)
}

/// Signs out. A refresh token that is given must be one of the same user; its session ends too.
pub async fn logout(app: &App, actor: Actor, refresh: Option<&str>) -> Result<Done> {
    let now = app.now();
    let other = match refresh {
        Some(token) => Some(held(app, token, TokenKind::Refresh, now).await?.actor),
        None => None,
    };
    let mut tx = app.store.begin(actor.user).await?;
    accounts::lock(&mut tx, &[actor.user]).await?;
    let mut notices = Vec::new();
    if let Some(other) = other.filter(|other| !other.is_same_session(actor)) {
        if other.user != actor.user {
            return Err(TokenFault::Invalid.into());
        }
        usable(sessions::find(&mut tx, other.session).await?, other, now)?;
        notices.extend(end(&mut tx, other.user, other.session, now).await?);
    }
    notices.extend(end(&mut tx, actor.user, actor.session, now).await?);
    app.commit(tx, notices).await?;
    tracing::info!(user = %actor.user, session = %actor.session, "signed out");
    Ok(Done {})
}

/// The caller's signed-in devices.
pub async fn list(app: &App, actor: Actor) -> Result<Sessions> {
    let sessions = sessions::list(&mut app.store.read(actor.user).await?, actor.user, actor.session, app.now()).await?;
    Ok(Sessions { sessions })
}

/// Ends one of the caller's sessions, or all others.
pub async fn revoke(app: &App, actor: Actor, input: SessionRevoke) -> Result<Done> {
    confirm(app, actor.user, "password", &input.password).await?;
    let now = app.now();
    let mut tx = app.store.begin(actor.user).await?;
    accounts::lock(&mut tx, &[actor.user]).await?;
    let notices = match input.session {
        Some(session) => end(&mut tx, actor.user, session, now).await?,
        None => end_all(&mut tx, actor.user, Some(actor.session), now).await?,
    };
    if input.session.is_some() && notices.is_empty() {
        return Err(Error::not_found("session"));
    }
    app.commit(tx, notices).await?;
    Ok(Done {})
}

/// Ends a session, and tells its sockets and the user's others. Nothing happens where it was not open.
async fn end(tx: &mut Conn, user: UserId, session: SessionId, now: Micros) -> Result<Vec<Notice>> {
    if !sessions::end(tx, user, session, now).await? {
        return Ok(Vec::new());
    }
    let entry = streams::append_personal(tx, user, PersonalKind::SessionEnded, session.0, now).await?;
    let which = Which::Only(session);
    Ok(vec![Notice::SessionsEnded { user, which, code: CloseCode::Revoked }, Notice::Personal { user, entry }])
}

/// Ends all sessions of a user, or all but one, and tells the sockets.
pub(super) async fn end_all(tx: &mut Conn, user: UserId, but: Option<SessionId>, now: Micros) -> Result<Vec<Notice>> {
    let which = but.map_or(Which::All, Which::AllBut);
    let ended = sessions::end_all(tx, user, but, now).await?;
    let entries: Vec<_> = ended.iter().map(|session| (user, PersonalKind::SessionEnded, session.0)).collect();
    let mut notices = vec![Notice::SessionsEnded { user, which, code: CloseCode::Revoked }];
    notices.extend(personal(streams::append_each(tx, &entries, now).await?));
    Ok(notices)
}

/// When a session ends that gets a refresh token now: in whole seconds, like the token.
pub(super) fn session_end(app: &App, created_at: Micros, now: Micros) -> Micros {
    let idle = now / SECOND + app.config.refresh_token_s;
    let longest = created_at / SECOND + app.config.session_max_s;
    idle.min(longest) * SECOND
}

fn access_token(app: &App, actor: Actor, now: Micros, session_end: Micros) -> Result<(String, Micros)> {
    let exp = (now / SECOND + app.config.access_token_s).min(session_end / SECOND);
    let token = app.auth.sign(&claims(TokenKind::Access, actor, new_jti()?, now, exp))?;
    Ok((token, exp * SECOND))
}

/// The same arguments give the same bytes.
fn refresh_token(app: &App, actor: Actor, jti: String, now: Micros, session_end: Micros) -> Result<String> {
    app.auth.sign(&claims(TokenKind::Refresh, actor, jti, now, session_end / SECOND))
}

fn claims(token_type: TokenKind, actor: Actor, jti: String, now: Micros, exp: i64) -> Claims {
    Claims { token_type, exp, iat: now / SECOND, jti, user_id: actor.user.0, sid: actor.session.0 }
}
