//! Tokens that the Django service signed: each gets a session at its first use, so that it is listed and can be ended
//! like any other.

use crate::app::App;
use crate::auth::{OldToken, SECOND, TokenFault, TokenKind, digest};
use crate::bus::Notice;
use crate::error::Result;
use crate::model::{Actor, Micros, PersonalKind, SessionId, Text};
use crate::ops::sessions::{check_user, session_end};
use crate::store::{Purpose, accounts, sessions, streams};

/// What such a session is called in the list of devices.
const LABEL: &str = "before the move";

/// The session of a token, made if this is the first use of it. Whether it still stands is for the caller to judge.
pub(super) async fn session(app: &App, token: &OldToken, kind: TokenKind, now: Micros) -> Result<Actor> {
    let (label, jti_hash) = (Text::without_nul(LABEL), digest(&token.jti));
    let actor = |session: SessionId| Actor { user: token.user, session, socket: None };
    if let Some(session) =
        sessions::of_foreign(&mut app.store.read(Purpose::Session(token.user)).await?, &jti_hash).await?
    {
        return Ok(actor(session));
    }
    let mut tx = app.store.begin(Purpose::Session(token.user)).await?;
    // Of two first uses at once, on whichever nodes, the later one finds what the first one made.
    accounts::lock(&mut tx, &[token.user]).await?;
    let user = accounts::credentials_of(&mut tx, token.user).await?;
    check_user(user.is_none(), user.is_some_and(|user| user.disabled))?;
    let expires_at = match kind {
        TokenKind::Access => token.exp.saturating_mul(SECOND),
        TokenKind::Refresh => session_end(app, now, now),
    };
    let Some(session) = sessions::insert_foreign(&mut tx, token.user, &label, &jti_hash, now, expires_at).await? else {
        let made = sessions::of_foreign(&mut tx, &jti_hash).await?;
        return made.map(actor).ok_or(TokenFault::Ended.into());
    };
    let entry = streams::append_personal(&mut tx, token.user, PersonalKind::SessionStarted, session.0, now).await?;
    app.commit(tx, vec![Notice::Personal { user: token.user, entry }]).await?;
    tracing::info!(user = %token.user, %session, "goes on with a token of the Django service");
    Ok(actor(session))
}
