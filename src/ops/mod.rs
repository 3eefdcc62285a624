//! What can be done. Each operation is a plain async function `op(app, actor, input) -> Result<output>`; it knows
//! neither sockets nor HTTP. A writing one goes *lock, judge, number, write*, and is told after its commit.

pub mod accounts;
pub mod blocks;
pub mod conversations;
pub mod groups;
pub mod inbox;
pub mod matching;
pub mod messages;
pub mod presence;
pub mod reactions;
pub mod sessions;

use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::app::App;
use crate::error::{Error, Result};
use crate::limits::Hourly;
use crate::metrics;
use crate::model::{Actor, UserId};
use crate::protocol::{Command, CommandId, encode_reply, replies};

/// Runs a command and encodes its reply. `auth`, `auth.refresh` and `resume` concern the socket itself and are
/// answered there.
pub async fn dispatch(app: &App, actor: Actor, id: Option<&CommandId>, command: Command) -> Utf8Bytes {
    use Command as C;
    let name = command.name();
    match command {
        C::MessageSend(input) => reply(id, name, &messages::send(app, actor, input).await),
        C::MessageRead(input) => reply(id, name, &messages::read(app, actor, input).await),
        C::MessageDelivered(input) => reply(id, name, &messages::delivered(app, actor, input).await),
        C::MessageEdit(input) => reply(id, name, &messages::edit(app, actor, input).await),
        C::MessageDelete(input) => reply(id, name, &messages::delete(app, actor, input).await),
        C::MessageHistory(input) => reply(id, name, &messages::history(app, actor, input).await),
        C::MessageSearch(input) => reply(id, name, &messages::search(app, actor, input).await),
        C::MessageReact(input) => reply(id, name, &reactions::add(app, actor, input).await),
        C::MessageUnreact(input) => reply(id, name, &reactions::remove(app, actor, input).await),
        C::TypingSet(input) => reply(id, name, &presence::typing(app, actor, input).await),
        C::PresenceGet(input) => reply(id, name, &presence::get(app, actor, input).await),
        C::StatusSet(input) => reply(id, name, &presence::set_status(app, actor, input).await),
        C::ConversationOpen(input) => reply(id, name, &conversations::open(app, actor, input).await),
        C::ConversationList(input) => reply(id, name, &conversations::list(app, actor, input).await),
        C::ConversationGet(input) => reply(id, name, &conversations::get(app, actor, input).await),
        C::ConversationMute(input) => reply(id, name, &conversations::mute(app, actor, input).await),
        C::ConversationArchive(input) => reply(id, name, &conversations::archive(app, actor, input).await),
        C::ConversationLeave(input) => reply(id, name, &groups::leave(app, actor, input).await),
        C::ConversationCreate(input) => reply(id, name, &groups::create(app, actor, input).await),
        C::ConversationRename(input) => reply(id, name, &groups::rename(app, actor, input).await),
        C::MemberAdd(input) => reply(id, name, &groups::add(app, actor, input).await),
        C::MemberRemove(input) => reply(id, name, &groups::remove(app, actor, input).await),
        C::MemberRole(input) => reply(id, name, &groups::role(app, actor, input).await),
        C::NotificationList(input) => reply(id, name, &inbox::list(app, actor, input).await),
        C::NotificationRead(input) => reply(id, name, &inbox::read(app, actor, input).await),
        C::CandidateList(input) => reply(id, name, &matching::candidates(app, actor, input).await),
        C::LikeAdd(input) => reply(id, name, &matching::like(app, actor, input).await),
        C::LikeRemove(input) => reply(id, name, &matching::unlike(app, actor, input).await),
        C::LikeCount(_) => reply(id, name, &matching::likes_received(app, actor).await),
        C::PassAdd(input) => reply(id, name, &matching::pass(app, actor, input).await),
        C::MatchList(input) => reply(id, name, &matching::matches(app, actor, input).await),
        C::MatchEnd(input) => reply(id, name, &matching::end(app, actor, input).await),
        C::BlockAdd(input) => reply(id, name, &blocks::add(app, actor, input).await),
        C::BlockRemove(input) => reply(id, name, &blocks::remove(app, actor, input).await),
        C::BlockList(_) => reply(id, name, &blocks::list(app, actor).await),
        C::ReportSend(input) => reply(id, name, &blocks::report(app, actor, input).await),
        C::ProfileMe(_) => reply(id, name, &accounts::me(app, actor).await),
        C::ProfileGet(input) => reply(id, name, &accounts::profile(app, actor, input).await),
        C::ProfileUpdate(input) => reply(id, name, &accounts::update(app, actor, input).await),
        C::PreferencesGet(_) => reply(id, name, &accounts::preferences(app, actor).await),
        C::PreferencesUpdate(input) => reply(id, name, &accounts::update_preferences(app, actor, input).await),
        C::PasswordChange(input) => reply(id, name, &accounts::change_password(app, actor, input).await),
        C::AccountDelete(input) => reply(id, name, &accounts::delete(app, actor, input).await),
        C::SessionList(_) => reply(id, name, &sessions::list(app, actor).await),
        C::SessionRevoke(input) => reply(id, name, &sessions::revoke(app, actor, input).await),
        C::Ping(_) => reply(id, name, &Ok(replies::Pong { time: app.now() })),
        C::Auth(_) => reply::<()>(id, name, &Err(Error::forbidden("This socket has said who it is."))),
        C::AuthRefresh(_) | C::Resume(_) => {
            reply::<()>(id, name, &Err(Error::forbidden("This belongs on a socket of its own session.")))
        }
    }
}

/// Counts a command and encodes its reply.
fn reply<T: serde::Serialize>(id: Option<&CommandId>, name: &'static str, result: &Result<T>) -> Utf8Bytes {
    metrics::command(name, result.as_ref().err().map(|error| error.code));
    encode_reply(id, result)
}

/// Counts something that a user may do so many times an hour, over all nodes. Without Redis each node allows its share.
async fn hourly(app: &App, what: Hourly, user: UserId) -> Result<()> {
    let Some(rate) = app.limits.rate(what) else { return Ok(()) };
    let shared = app.bus.take(what.name(), user, rate).await;
    // Counted here as well, so that a Redis that forgot does not begin anew.
    let nodes = if shared.is_some() { 1 } else { app.bus.nodes() };
    app.limits.hourly(what, user, nodes).and(shared.unwrap_or(Ok(()))).map_err(Error::rate_limited)
}

/// How many items a page holds: what was asked for, within the limit.
fn page_size(app: &App, asked: Option<i64>) -> Result<usize> {
    match asked {
        None => Ok(app.config.page_max),
        Some(asked) => match usize::try_from(asked) {
            Ok(size) if size > 0 => Ok(size.min(app.config.page_max)),
            _ => Err(Error::field("limit", "At least 1.")),
        },
    }
}

/// Refuses a list that names too many, or somebody twice.
fn distinct(app: &App, field: &'static str, users: &[UserId]) -> Result<()> {
    let items_max = app.config.items_max;
    if users.len() > items_max {
        return Err(Error::too_long(field, items_max, "users"));
    }
    let mut sorted = users.to_vec();
    sorted.sort_unstable();
    match sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        true => Err(Error::field(field, "Somebody is named twice.")),
        false => Ok(()),
    }
}
