//! From the upgrade to the greeting: who it is, and which streams the socket follows.

use std::sync::Arc;

use futures_util::SinkExt;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::Message;

use super::ending::broken;
use super::{End, SocketStart, Stream, next};
use crate::app::App;
use crate::config::ms;
use crate::error::{CloseCode, Error, ErrorCode, Result};
use crate::feed;
use crate::hub::Socket;
use crate::ops;
use crate::ops::sessions::Authenticated;
use crate::protocol::replies::Hello;
use crate::protocol::{Command, CommandId, Parsed, encode_reply, parse};
use crate::sentence;

/// Waits until the client said who it is.
pub(super) async fn open(
    app: &App,
    stream: &mut Stream,
    start: &SocketStart,
) -> std::result::Result<(Authenticated, Option<CommandId>), End> {
    if let Some(authenticated) = &start.authenticated {
        return Ok((authenticated.clone(), None));
    }
    let deadline = Instant::now() + ms(app.config.auth_ms);
    for _ in 0..app.config.bad_frames.max(1) {
        let frame = tokio::select! {
            frame = timeout_at(deadline, next(stream)) => frame.map_err(|_| CloseCode::AuthTimeout)?,
            () = start.permit.must_end() => return Err(CloseCode::Crowded.into()),
        };
        let text = match frame {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
            Some(Ok(Message::Binary(_))) => return Err(CloseCode::Unsupported.into()),
            Some(Ok(Message::Close(_))) => return Err(End::Closed),
            Some(Err(error)) => return Err(broken(&error).map_or(End::Gone, End::Close)),
            _ => return Err(End::Gone),
        };
        let Parsed { id, command } = parse(&text);
        let answer = match command {
            Ok(Command::Auth(input)) => ops::sessions::authenticate(app, &input.token).await,
            Ok(_) => Err(Error::new(ErrorCode::NotAuthenticated, sentence!("say-who"))),
            Err(error) => Err(error),
        };
        match answer {
            Ok(authenticated) => return Ok((authenticated, id)),
            Err(error) => {
                let retryable = error.code.retryable();
                let refusal = encode_reply::<()>(id.as_ref(), start.language, &Err(error));
                let sent = timeout(ms(app.config.write_ms), stream.send(Message::Text(refusal))).await;
                if !matches!(sent, Ok(Ok(()))) {
                    return Err(CloseCode::AuthTimeout.into());
                }
                // Who cannot be judged here now is better off elsewhere than waiting for the end of its time.
                if retryable {
                    return Err(CloseCode::Restarted.into());
                }
            }
        }
    }
    Err(CloseCode::TooManyErrors.into())
}

/// Makes the socket follow its streams, and greets it.
pub(super) async fn hello(app: &App, socket: &Arc<Socket>, authenticated: &Authenticated) -> Result<Hello> {
    app.bus.enter(socket.actor.user).await;
    let personal = feed::start(&app.store, &app.hub, socket).await?;
    if !ops::sessions::stands(app, authenticated.actor).await? {
        socket.close(CloseCode::Revoked);
    }
    let Authenticated { actor, username, expires_at } = authenticated.clone();
    Ok(Hello {
        user: actor.user,
        username,
        session: actor.session,
        epoch: app.epoch.clone(),
        personal,
        time: app.now(),
        expires_at,
        limits: app.config.told_limits(),
    })
}
