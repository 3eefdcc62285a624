//! What can be done. Each operation is a plain async function `op(app, actor, input) -> Result<output>`; it knows
//! neither sockets nor HTTP. A writing one goes *lock, judge, number, write*, and is told after its commit.

pub mod accounts;
pub mod blocks;
pub mod collect;
pub mod conversations;
pub mod erasing;
pub mod files;
mod foreign;
pub mod groups;
pub mod inbox;
pub mod matching;
pub mod messages;
pub mod presence;
pub mod reactions;
pub mod reindex;
pub mod sessions;

use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::app::App;
use crate::bus::Notice;
use crate::catalogue::Language;
use crate::error::{Error, ErrorCode, Result};
use crate::limits::Hourly;
use crate::metrics;
use crate::model::{Actor, PersonalEntry, UserId};
use crate::planted;
use crate::protocol::{Command, CommandId, encode_reply, replies};
use crate::sentence;
use crate::store::Tx;
pub use crate::store::retried;

/// Runs a command and encodes its reply. `auth`, `auth.refresh` and `resume` concern the socket itself and are
/// answered there.
///
/// What another transaction overtook is run again as a whole: it has changed nothing, and judges what is there now.
pub async fn dispatch(app: &App, actor: Actor, language: Language, id: Option<&CommandId>, command: Command) -> Answer {
    let name = command.name();
    planted::fail_at("command");
    let answer = metrics::statements_of(name, retried(|| run(app, actor, id, command.clone()))).await;
    let refused = answer.as_ref().err().map(|error| error.code);
    metrics::command(name, refused);
    Answer { frame: answer.unwrap_or_else(|error| encode_reply::<()>(id, language, &Err(error))), refused }
}

/// The answer to a command.
#[derive(Debug)]
pub struct Answer {
    /// The encoded reply.
    pub frame: Utf8Bytes,
    /// Why it was refused, if it was.
    pub refused: Option<ErrorCode>,
}

async fn run(app: &App, actor: Actor, id: Option<&CommandId>, command: Command) -> Result<Utf8Bytes> {
    use Command as C;
    match command {
        C::MessageSend(input) => reply(id, messages::send(app, actor, input).await),
        C::MessageRead(input) => reply(id, messages::read(app, actor, input).await),
        C::MessageDelivered(input) => reply(id, messages::delivered(app, actor, input).await),
        C::MessageEdit(input) => reply(id, messages::edit(app, actor, input).await),
        C::MessageDelete(input) => reply(id, messages::delete(app, actor, input).await),
        C::MessageHistory(input) => reply(id, messages::history(app, actor, input).await),
        C::MessageSearch(input) => reply(id, messages::search(app, actor, input).await),
        C::MessageReact(input) => reply(id, reactions::add(app, actor, input).await),
        C::MessageUnreact(input) => reply(id, reactions::remove(app, actor, input).await),
        C::MediaLinks(input) => reply(id, files::links(app, actor, input).await),
        C::TypingSet(input) => reply(id, presence::typing(app, actor, input).await),
        C::PresenceGet(input) => reply(id, presence::get(app, actor, input).await),
        C::StatusSet(input) => reply(id, presence::set_status(app, actor, input).await),
        C::ConversationOpen(input) => reply(id, conversations::open(app, actor, input).await),
        C::ConversationList(input) => reply(id, conversations::list(app, actor, input).await),
        C::ConversationGet(input) => reply(id, conversations::get(app, actor, input).await),
        C::ConversationMute(input) => reply(id, conversations::mute(app, actor, input).await),
        C::ConversationArchive(input) => reply(id, conversations::archive(app, actor, input).await),
        C::ConversationLeave(input) => reply(id, groups::leave(app, actor, input).await),
        C::ConversationCreate(input) => reply(id, groups::create(app, actor, input).await),
        C::ConversationRename(input) => reply(id, groups::rename(app, actor, input).await),
        C::MemberAdd(input) => reply(id, groups::add(app, actor, input).await),
        C::MemberRemove(input) => reply(id, groups::remove(app, actor, input).await),
        C::MemberRole(input) => reply(id, groups::role(app, actor, input).await),
        C::NotificationList(input) => reply(id, inbox::list(app, actor, input).await),
        C::NotificationRead(input) => reply(id, inbox::read(app, actor, input).await),
        C::CandidateList(input) => reply(id, matching::candidates(app, actor, input).await),
        C::LikeAdd(input) => reply(id, matching::like(app, actor, input).await),
        C::LikeRemove(input) => reply(id, matching::unlike(app, actor, input).await),
        C::LikeCount(_) => reply(id, matching::likes_received(app, actor).await),
        C::PassAdd(input) => reply(id, matching::pass(app, actor, input).await),
        C::MatchList(input) => reply(id, matching::matches(app, actor, input).await),
        C::MatchEnd(input) => reply(id, matching::end(app, actor, input).await),
        C::BlockAdd(input) => reply(id, blocks::add(app, actor, input).await),
        C::BlockRemove(input) => reply(id, blocks::remove(app, actor, input).await),
        C::BlockList(_) => reply(id, blocks::list(app, actor).await),
        C::ReportSend(input) => reply(id, blocks::report(app, actor, input).await),
        C::ProfileMe(_) => reply(id, accounts::me(app, actor).await),
        C::ProfileGet(input) => reply(id, accounts::profile(app, actor, input).await),
        C::ProfileUpdate(input) => reply(id, accounts::update(app, actor, input).await),
        C::PreferencesGet(_) => reply(id, accounts::preferences(app, actor).await),
        C::PreferencesUpdate(input) => reply(id, accounts::update_preferences(app, actor, input).await),
        C::PasswordChange(input) => reply(id, accounts::change_password(app, actor, input).await),
        C::AccountDelete(input) => reply(id, accounts::delete(app, actor, input).await),
        C::SessionList(_) => reply(id, sessions::list(app, actor).await),
        C::SessionRevoke(input) => reply(id, sessions::revoke(app, actor, input).await),
        C::Ping(_) => reply(id, Ok(replies::Pong { time: app.now() })),
        C::Auth(_) => Err(Error::forbidden(sentence!("said-who"))),
        C::AuthRefresh(_) | C::Resume(_) => Err(Error::forbidden(sentence!("own-socket"))),
    }
}

/// The notices of entries that were appended to personal streams.
fn personal(appended: Vec<(UserId, PersonalEntry)>) -> Vec<Notice> {
    appended.into_iter().map(|(user, entry)| Notice::Personal { user, entry }).collect()
}

/// Encodes the reply to a command that was done.
fn reply<T: serde::Serialize>(id: Option<&CommandId>, result: Result<T>) -> Result<Utf8Bytes> {
    // What was done is told in no language.
    result.map(|output| encode_reply(id, Language::English, &Ok(output)))
}

/// What somebody pays to do something that they may do so many times an hour. It is asked for last, when all has been
/// judged: so what is refused or was done before costs nothing.
struct Toll {
    what: Hourly,
    user: UserId,
    paid: bool,
}

impl Toll {
    fn new(what: Hourly, user: UserId) -> Toll {
        Toll { what, user, paid: false }
    }

    /// Answers the transaction where it may go on. None where it was rolled back before the rate was asked for, as Redis
    /// may take its time and rows must not stay locked meanwhile: now it is paid, and all is to be judged again.
    async fn pay(&mut self, app: &App, tx: Tx) -> Result<Option<Tx>> {
        if self.paid || app.limits.rate(self.what).is_none() {
            return Ok(Some(tx));
        }
        drop(tx);
        hourly(app, self.what, self.user).await?;
        self.paid = true;
        Ok(None)
    }
}

/// Counts something that a user may do so many times an hour, over all nodes. Without Redis each node allows its share.
async fn hourly(app: &App, what: Hourly, user: UserId) -> Result<()> {
    let Some(rate) = app.limits.rate(what) else { return Ok(()) };
    let shared = app.bus.take(what.name(), user, rate).await;
    // Counted here as well, so that a Redis that forgot does not begin anew.
    let nodes = if shared.is_some() { 1 } else { app.bus.nodes() };
    app.limits.hourly(what, user, nodes).and(shared.unwrap_or(Ok(()))).map_err(Error::rate_limited)
}

/// How many items a page holds: what was asked for, and no more than the limit.
fn page_size(app: &App, asked: Option<i64>) -> Result<usize> {
    let max = app.config.page_max;
    match asked {
        None => Ok(max),
        Some(asked) => match usize::try_from(asked) {
            Ok(size) if (1..=max).contains(&size) => Ok(size),
            _ => Err(Error::field("limit", sentence!("from-to", min = 1_i64, max = max))),
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
        true => Err(Error::field(field, sentence!("twice"))),
        false => Ok(()),
    }
}
