//! What keeps sockets and database in agreement: bringing notices to the hub, starting a socket, resume, and the pages
//! that a socket which is behind pulls.

use std::sync::Arc;

use crate::bus::Notice;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::hub::{Caught, Delivery, Hub, Loss, Rung, Socket};
use crate::model::{ConversationId, Stream, UserId};
use crate::planted::{self, Fault};
use crate::protocol::Event;
use crate::protocol::commands::Resume;
use crate::protocol::events::{ConversationPage, MessageHidden, Personal, PersonalPage, WatermarkMoved};
use crate::protocol::replies::{ResetReason, Resumed};
use crate::store::{Store, messages, streams};

/// Brings what happened to the sockets here, in order. Each event is encoded once; sockets are rung once, at the end.
pub fn apply(hub: &Hub, notices: &[Notice]) {
    let mut rung = Rung::default();
    for notice in notices {
        match notice {
            Notice::Moved { conversation, seq, after, event, hidden_from } => {
                let frame = event.encode();
                let hidden = MessageHidden { conversation: *conversation, seq: *seq };
                let hidden = (!hidden_from.is_empty()).then(|| Event::MessageHidden(hidden).encode());
                let hidden = hidden.as_ref().map(|frame| (hidden_from.as_slice(), frame));
                let stream = Stream::Conversation(*conversation);
                hub.deliver(&Delivery { stream, seq: *seq, after: *after, frame: &frame, hidden }, &mut rung);
            }
            Notice::Personal { user, entry } => {
                let frame = Event::Personal(Personal { entry: entry.clone() }).encode();
                let (stream, seq) = (Stream::Personal(*user), entry.seq);
                hub.deliver(&Delivery { stream, seq, after: seq - 1, frame: &frame, hidden: None }, &mut rung);
            }
            Notice::State { conversation, event, hidden_from } => {
                hub.tell(Stream::Conversation(*conversation), &event.encode(), hidden_from, Loss::Repair, &mut rung);
            }
            Notice::EphemeralIn { conversation, event, hidden_from } => {
                hub.tell(Stream::Conversation(*conversation), &event.encode(), hidden_from, Loss::Drop, &mut rung);
            }
            Notice::EphemeralTo { users, event } => {
                let frame = event.encode();
                for user in users {
                    hub.tell(Stream::Personal(*user), &frame, &[], Loss::Drop, &mut rung);
                }
            }
            Notice::Joined { conversation, user } => hub.join(*conversation, *user, 0, &mut rung),
            Notice::Left { conversation, user } => hub.leave(*conversation, *user),
            Notice::SessionsEnded { user, which, code } => hub.end_sessions(*user, *which, *code),
        }
    }
}

/// Makes a registered socket follow all that its user is in, and answers the head of its personal stream. Registered
/// first, read after: what happens in between reaches it through its user's personal stream.
pub async fn start(store: &Store, hub: &Hub, socket: &Arc<Socket>) -> Result<i64> {
    let user = socket.actor.user;
    let mut conn = store.read().await?;
    let heads = streams::heads(&mut conn, user).await?;
    let conversations: Vec<ConversationId> = heads.iter().map(|head| head.conversation).collect();
    if hub.follow(socket, &conversations) {
        // Read after registering: an event that is not in these heads reaches the socket by itself.
        for head in streams::heads(&mut conn, user).await? {
            hub.position(Stream::Conversation(head.conversation), head.head);
        }
    }
    let personal = streams::personal_head(&mut conn, user).await?;
    // Another socket of the user may have started at the same instant and read more; both stand where it stands.
    Ok(personal.max(hub.position(Stream::Personal(user), personal)))
}

/// Takes a client's cursors: tells what differs, and lets the socket read on from each cursor that is behind.
pub async fn resume(
    store: &Store,
    hub: &Hub,
    config: &Config,
    epoch: &str,
    socket: &Arc<Socket>,
    input: Resume,
) -> Result<Resumed> {
    if input.conversations.len() > config.cursors_max {
        return Err(Error::too_long("conversations", config.cursors_max, "cursors a frame; send several frames"));
    }
    let user = socket.actor.user;
    let mut conn = store.read().await?;
    let personal = streams::personal_head(&mut conn, user).await?;
    let mut answer = Resumed {
        epoch: epoch.to_owned(),
        reset: None,
        personal,
        moved: Default::default(),
        gone: Vec::new(),
        reset_conversations: Vec::new(),
        watermarks: Vec::new(),
    };
    if input.epoch != epoch {
        answer.reset = Some(ResetReason::Epoch);
        return Ok(answer);
    }
    match input.personal {
        Some(cursor) if cursor > personal => {
            answer.reset = Some(ResetReason::CursorAboveHead);
            return Ok(answer);
        }
        Some(cursor) if cursor < personal => hub.rewind(socket, Stream::Personal(user), from(cursor, personal)),
        _ => {}
    }
    let named: Vec<ConversationId> = input.conversations.keys().copied().collect();
    let heads = streams::heads_of(&mut conn, user, &named).await?;
    let mut unmoved = Vec::new();
    for (conversation, cursor) in input.conversations {
        let head = heads.iter().find(|head| head.conversation == conversation).map(|head| head.head);
        match head {
            None => answer.gone.push(conversation),
            Some(head) if cursor > head => answer.reset_conversations.push(conversation),
            Some(head) if cursor < head => {
                answer.moved.insert(conversation, head);
                hub.rewind(socket, Stream::Conversation(conversation), from(cursor, head));
            }
            Some(_) => unmoved.push(conversation),
        }
    }
    // Positions of members have no number, so those of conversations that did not move are told whole.
    let watermarks = streams::watermarks(&mut conn, user, &unmoved).await?;
    let told =
        watermarks.into_iter().map(|at| WatermarkMoved { conversation: at.conversation, watermark: at.watermark });
    answer.watermarks = told.collect();
    Ok(answer)
}

fn from(cursor: i64, head: i64) -> i64 {
    if planted::is(Fault::ResumeFromHead) { head } else { cursor }
}

/// Reads one page for a socket that is behind, and hands it to the hub.
pub async fn pull(
    store: &Store,
    hub: &Hub,
    config: &Config,
    socket: &Arc<Socket>,
    stream: Stream,
    from: i64,
) -> Result<()> {
    let user = socket.actor.user;
    let page = match stream {
        Stream::Conversation(conversation) => conversation_page(store, config, user, conversation, from).await?,
        Stream::Personal(_) => personal_page(store, config, user, from).await?,
    };
    hub.caught_up(socket, stream, from, page);
    Ok(())
}

async fn conversation_page(
    store: &Store,
    config: &Config,
    user: UserId,
    conversation: ConversationId,
    after: i64,
) -> Result<Caught> {
    let mut conn = store.read().await?;
    let changes = messages::changes_after(&mut conn, user, conversation, after, config.page_max).await?;
    // Not a member any more: the notice of that is on its way, and takes the stream from the socket.
    let Some(mut changes) = changes else { return Err(Error::not_found("conversation")) };
    cut(&mut changes, config.outbox_bytes);
    let (upto, more) = (changes.upto, changes.more);
    let watermarks = match more {
        true => Vec::new(),
        false => streams::watermarks(&mut conn, user, &[conversation]).await?,
    };
    let watermarks: Vec<_> = watermarks.into_iter().map(|at| at.watermark).collect();
    if upto == after && watermarks.is_empty() {
        return Ok(Caught { upto, more, frame: None });
    }
    let page = ConversationPage { conversation, after, upto, more, messages: changes.messages, watermarks };
    Ok(Caught { upto, more, frame: Some(Event::ConversationPage(page).encode()) })
}

/// Keeps a page within the bytes that one socket may hold; what is cut off comes with the next page.
fn cut(changes: &mut messages::Changes, bytes_max: usize) {
    let mut bytes = 0;
    let fits = changes.messages.iter().take_while(|message| {
        bytes += 256 + message.text.as_ref().map_or(0, String::len) + 16 * message.reactions.len();
        bytes <= bytes_max
    });
    let kept = fits.count().max(1);
    if kept < changes.messages.len() {
        changes.messages.truncate(kept);
        changes.upto = changes.messages.last().map_or(changes.upto, |message| message.rev);
        changes.more = true;
    }
}

async fn personal_page(store: &Store, config: &Config, user: UserId, after: i64) -> Result<Caught> {
    let mut conn = store.read().await?;
    // One more than a page holds tells whether another follows.
    let mut entries = streams::personal_after(&mut conn, user, after, config.page_max + 1).await?;
    let more = entries.len() > config.page_max;
    entries.truncate(config.page_max);
    let upto = entries.last().map_or(after, |entry| entry.seq);
    let frame = (upto > after).then(|| Event::PersonalPage(PersonalPage { after, upto, more, entries }).encode());
    Ok(Caught { upto, more, frame })
}
