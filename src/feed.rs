//! What keeps sockets and database in agreement: bringing notices to the hub, starting a socket, resume, and the pages
//! that a socket which is behind pulls.

pub mod audit;
pub mod sessions;
pub mod sweep;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::bus::Notice;
use crate::clock::Clock;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::hub::{Caught, Delivery, Hub, Membership, Origin, Pull, Rung, Socket};
use crate::model::{ConversationId, PlacedWatermark, Stream, UserId, Watermark};
use crate::planted::{self, Fault};
use crate::protocol::commands::Resume;
use crate::protocol::events::{ConversationPage, MessageHidden, Personal, PersonalPage, Watermarks};
use crate::protocol::replies::{ResetReason, Resumed};
use crate::protocol::{Event, page};
use crate::store::{Purpose, Store, messages, streams, watermarks};

/// Conversations whose watermarks are read at once for a socket.
const WATERMARKS_OF: usize = 100;
/// Watermarks that are read at once for a socket, but for a first conversation that has more members.
const WATERMARKS: usize = 500;

/// How long it is kept that a row of the table of changes was told. The sweep comes upon it within a second; after so
/// long, what it finds is read once more.
const HEARD_KEPT: Duration = Duration::from_secs(60);

/// Which rows of the table of changes were told here and not yet found by the sweep.
#[derive(Debug)]
struct Heard {
    now: HashSet<i64>,
    before: HashSet<i64>,
    turned: Instant,
}

/// The way of what happened into this node, whoever tells of it.
#[derive(Debug)]
pub struct Feed {
    /// The sockets of this node.
    pub hub: Arc<Hub>,
    /// The time, which each sweep compares with the database's.
    pub clock: Clock,
    heard: Mutex<Heard>,
    hears: AtomicBool,
    /// Rung when something may have been missed.
    trouble: Notify,
    /// When the database last answered a sweep, in milliseconds since `begun`.
    swept_ms: AtomicU64,
    begun: Instant,
}

impl Feed {
    /// A feed into a hub.
    pub fn new(hub: Arc<Hub>) -> Feed {
        let begun = Instant::now();
        let heard = Heard { now: HashSet::new(), before: HashSet::new(), turned: begun };
        let (heard, trouble) = (Mutex::new(heard), Notify::new());
        Feed {
            hub,
            clock: Clock::default(),
            heard,
            hears: AtomicBool::new(false),
            trouble,
            swept_ms: AtomicU64::new(0),
            begun,
        }
    }

    /// Whether what other nodes tell arrives here.
    pub fn hears(&self) -> bool {
        self.hears.load(Ordering::Acquire)
    }

    /// The way from the other nodes opened or closed. Either way something may have been missed, so a sweep follows at
    /// once. Answers whether that is new.
    pub fn set_hears(&self, hears: bool) -> bool {
        let new = self.hears.swap(hears, Ordering::AcqRel) != hears;
        self.trouble.notify_one();
        new
    }

    /// Notes that a row of the table of changes was told here.
    fn hear(&self, change: i64) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.turned.elapsed() > HEARD_KEPT {
            heard.before = std::mem::take(&mut heard.now);
            heard.turned = Instant::now();
        }
        heard.now.insert(change);
    }

    /// The sweep found a row of the table of changes. Answers whether it had been told here.
    fn found(&self, change: i64) -> bool {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.now.remove(&change) || heard.before.remove(&change)
    }

    /// The database answered a sweep.
    fn answered(&self) {
        self.swept_ms.store(self.begun.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// How long ago the database last answered a sweep.
    pub fn since_sweep(&self) -> Duration {
        self.begun.elapsed().saturating_sub(Duration::from_millis(self.swept_ms.load(Ordering::Relaxed)))
    }

    /// Brings what happened to the sockets here, in order. Sockets are rung once, at the end.
    pub fn apply(&self, notices: &[Notice]) {
        let mut rung = Rung::default();
        notices.iter().for_each(|notice| self.apply_one(notice, &mut rung));
    }

    fn apply_one(&self, notice: &Notice, rung: &mut Rung) {
        let hub = &self.hub;
        match notice {
            Notice::Moved { conversation, seq, after, frame, hidden_from, instead } => {
                let hidden = MessageHidden { conversation: *conversation, seq: *seq };
                let instead = || instead.clone().unwrap_or_else(|| Event::MessageHidden(hidden).encode());
                let hidden = (!hidden_from.is_empty()).then(instead);
                let hidden = hidden.as_ref().map(|frame| (hidden_from.as_slice(), frame));
                let stream = Stream::Conversation(*conversation);
                hub.deliver(&Delivery { stream, seq: *seq, after: *after, frame, hidden }, rung);
            }
            Notice::Personal { user, entry } => {
                if let Some(change) = Membership::of(*user, entry) {
                    hub.membership(&change, Origin::Told, rung);
                }
                let stream = Stream::Personal(*user);
                if hub.follows(stream) {
                    let frame = Event::Personal(Personal { entry: entry.clone() }).encode();
                    let (seq, after) = (entry.seq, entry.seq - 1);
                    hub.deliver(&Delivery { stream, seq, after, frame: &frame, hidden: None }, rung);
                }
            }
            Notice::Watermarks { conversation, watermarks, to_all, change } => {
                self.hear(*change);
                self.tell_watermarks(*conversation, watermarks, *to_all, rung);
            }
            Notice::EphemeralIn { conversation, frame, hidden_from } => {
                hub.tell(Stream::Conversation(*conversation), frame, hidden_from, rung);
            }
            Notice::EphemeralTo { users, frame } => {
                users.iter().for_each(|user| hub.tell(Stream::Personal(*user), frame, &[], rung));
            }
            Notice::SessionsEnded { user, which, code } => hub.end_sessions(*user, *which, *code),
            Notice::Crowded { user, opened_upto } => hub.replace(*user, *opened_upto),
            Notice::Spread { user, nodes } => hub.spread(*user, *nodes),
        }
    }

    /// One frame tells all members what all of them may know, and one more for each set of those who must not.
    fn tell_watermarks(
        &self,
        conversation: ConversationId,
        watermarks: &[(Watermark, Vec<UserId>)],
        to_all: bool,
        rung: &mut Rung,
    ) {
        if !self.hub.follows(Stream::Conversation(conversation)) {
            return;
        }
        if !to_all {
            for (watermark, _) in watermarks.iter().filter(|(watermark, _)| self.hub.is_here(watermark.user)) {
                let frame = frame_of(conversation, [*watermark]);
                self.hub.tell_own_watermark(conversation, watermark.user, &frame, rung);
            }
            return;
        }
        let mut by_hidden: BTreeMap<&[UserId], Vec<Watermark>> = BTreeMap::new();
        for (watermark, hidden_from) in watermarks {
            by_hidden.entry(hidden_from).or_default().push(*watermark);
        }
        for (hidden_from, watermarks) in by_hidden {
            self.hub.tell_watermarks(conversation, &frame_of(conversation, watermarks), hidden_from, rung);
        }
    }
}

/// Positions of members in one frame.
fn frame_of(conversation: ConversationId, watermarks: impl IntoIterator<Item = Watermark>) -> Utf8Bytes {
    let place = |watermark| PlacedWatermark { conversation, watermark };
    Event::Watermarks(Watermarks { watermarks: watermarks.into_iter().map(place).collect() }).encode()
}

/// Gives up, after a moment, waiting for what should have come before events that came early. Runs as long as the server.
pub async fn give_up(hub: Arc<Hub>) {
    loop {
        match hub.early.due_in() {
            Some(wait) => tokio::time::sleep(wait).await,
            None => hub.early.bell.notified().await,
        }
        hub.give_up(&mut Rung::default());
    }
}

/// Makes a registered socket follow all that its user is in, and answers the number of the personal stream as of which
/// that was read. Registered first, read after: what happens later reaches it through its user's personal stream.
pub async fn start(store: &Store, hub: &Hub, socket: &Arc<Socket>) -> Result<i64> {
    let user = socket.actor.user;
    let mut conn = store.read(Purpose::Session(user)).await?;
    let memberships = streams::memberships(&mut conn, &[user]).await?.pop().ok_or_else(|| Error::not_found("user"))?;
    let as_of = memberships.as_of;
    let conversations: Vec<ConversationId> = memberships.heads.iter().map(|head| head.conversation).collect();
    planted::pause_at("hello").await;
    if hub.start(socket, as_of, &conversations) {
        // Read after registering: an event that is not in these heads reaches the socket by itself.
        for head in streams::heads(&mut conn, user).await? {
            hub.position(Stream::Conversation(head.conversation), head.head);
        }
    }
    Ok(as_of)
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
        return Err(Error::too_long("conversations", config.cursors_max, "conversations"));
    }
    let user = socket.actor.user;
    let mut conn = store.read(Purpose::Session(user)).await?;
    let personal = streams::personal_head(&mut conn, user).await?;
    let mut answer = Resumed {
        epoch: epoch.to_owned(),
        reset: None,
        personal,
        moved: Default::default(),
        gone: Vec::new(),
        reset_conversations: Vec::new(),
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
    let heads: HashMap<ConversationId, i64> = heads.into_iter().map(|head| (head.conversation, head.head)).collect();
    for (conversation, cursor) in input.conversations {
        match heads.get(&conversation).copied() {
            None => answer.gone.push(conversation),
            Some(head) if cursor > head => answer.reset_conversations.push(conversation),
            Some(head) if cursor < head => {
                answer.moved.insert(conversation, head);
                hub.rewind(socket, Stream::Conversation(conversation), from(cursor, head));
            }
            Some(_) => {}
        }
    }
    // Positions of members have no number, so they are told whole, as the socket takes them.
    socket.read_watermarks(heads.into_keys());
    Ok(answer)
}

fn from(cursor: i64, head: i64) -> i64 {
    if planted::is(Fault::ResumeFromHead) { head } else { cursor }
}

/// What a socket that is behind is to read next.
pub fn next_pull(socket: &Socket) -> Option<Pull> {
    socket.next_pull(WATERMARKS_OF)
}

/// Reads it, and puts it into the outbox.
pub async fn pull(store: &Store, hub: &Hub, config: &Config, socket: &Arc<Socket>, pull: Pull) -> Result<()> {
    let user = socket.actor.user;
    let (stream, from) = match pull {
        Pull::Page(stream, from) => (stream, from),
        Pull::Watermarks(conversations) => return pull_watermarks(store, config, socket, &conversations).await,
    };
    let page = match stream {
        Stream::Conversation(conversation) => {
            let Some(page) = conversation_page(store, config, user, conversation, from).await? else {
                return refused(store, hub, user, conversation).await;
            };
            page
        }
        Stream::Personal(_) => personal_page(store, hub, config, user, from).await?,
    };
    hub.caught_up(socket, stream, from, page);
    Ok(())
}

/// A page was refused, since the user was no member when it was read. Asks once more, together with the number of the
/// personal stream, so that a change which was seen meanwhile counts: either the sockets follow no longer, or the next
/// page is not refused.
async fn refused(store: &Store, hub: &Hub, user: UserId, conversation: ConversationId) -> Result<()> {
    let (seq, is_member) =
        streams::is_member(&mut store.read(Purpose::Session(user)).await?, user, conversation).await?;
    hub.membership(&Membership { user, seq, conversation, is_member }, Origin::State, &mut Rung::default());
    Ok(())
}

async fn pull_watermarks(
    store: &Store,
    config: &Config,
    socket: &Socket,
    conversations: &[ConversationId],
) -> Result<()> {
    let (user, members_max) = (socket.actor.user, config.watermark_members_max);
    let mut conn = store.read(Purpose::Session(user)).await?;
    let (watermarks, later) = watermarks::told(&mut conn, user, conversations, members_max, WATERMARKS).await?;
    socket.read_watermarks(later);
    if !watermarks.is_empty() {
        socket.put(Event::Watermarks(Watermarks { watermarks }).encode());
    }
    Ok(())
}

async fn conversation_page(
    store: &Store,
    config: &Config,
    user: UserId,
    conversation: ConversationId,
    after: i64,
) -> Result<Option<Caught>> {
    let mut conn = store.read(Purpose::Session(user)).await?;
    let changes = messages::changes_after(&mut conn, user, conversation, after, config.page_max).await?;
    let Some(mut changes) = changes else { return Ok(None) };
    cut(&mut changes, config.page_bytes);
    let (upto, more) = (changes.upto, changes.more);
    if upto == after {
        return Ok(Some(Caught { upto, more, frame: None }));
    }
    let page = ConversationPage { conversation, after, upto, more, messages: changes.messages };
    Ok(Some(Caught { upto, more, frame: Some(Event::ConversationPage(page).encode()) }))
}

/// Keeps a page within its bytes; what is cut off comes with the next page.
fn cut(changes: &mut messages::Changes, bytes_max: usize) {
    let kept = page::fit(&changes.messages, bytes_max);
    if kept < changes.messages.len() {
        changes.messages.truncate(kept);
        changes.upto = changes.messages.last().map_or(changes.upto, |message| message.rev);
        changes.more = true;
    }
}

/// Reads a page of the personal stream. Memberships that it tells of count as if they had been told.
async fn personal_page(store: &Store, hub: &Hub, config: &Config, user: UserId, after: i64) -> Result<Caught> {
    let mut conn = store.read(Purpose::Session(user)).await?;
    // One more than a page holds tells whether another follows.
    let mut entries = streams::personal_after(&mut conn, user, after, config.page_max + 1).await?;
    let more = entries.len() > config.page_max;
    entries.truncate(config.page_max);
    let upto = entries.last().map_or(after, |entry| entry.seq);
    let mut rung = Rung::default();
    let changes = entries.iter().filter_map(|entry| Membership::of(user, entry));
    changes.for_each(|change| hub.membership(&change, Origin::Read, &mut rung));
    let frame = (upto > after).then(|| Event::PersonalPage(PersonalPage { after, upto, more, entries }).encode());
    Ok(Caught { upto, more, frame })
}
