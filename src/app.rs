//! What every operation needs, put together once.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{Mutex, Notify, mpsc};

use crate::auth::{Auth, OldKey};
use crate::bus::{Bus, Notice, Told};
use crate::config::{Config, ms};
use crate::error::Result;
use crate::feed::Feed;
use crate::hub::Hub;
use crate::limits::{Limits, Nodes};
use crate::media::Media;
use crate::model::{ConversationId, Micros, Stream, UserId};
use crate::planted::{self, Fault};
use crate::store::sweep::{self, Change};
use crate::store::watermarks::{Moved, Watermarks};
use crate::store::writer::{Writer, Written};
use crate::store::{Conn, Purpose, Store, Tx, Use};

/// Dead nodes whose users may wait to be told gone.
const GONE: usize = 64;

/// The server's parts.
#[derive(Debug)]
pub struct App {
    /// Settings and limits.
    pub config: Config,
    /// What lasts.
    pub store: Arc<Store>,
    /// The group commit of sends.
    pub writer: Writer,
    /// The batches of what was received and read.
    pub watermarks: Watermarks,
    /// The sockets of this node.
    pub hub: Arc<Hub>,
    /// The way of what happened into this node.
    pub feed: Arc<Feed>,
    /// The way from a commit to the sockets.
    pub bus: Arc<Bus>,
    /// Tokens and passwords.
    pub auth: Auth,
    /// Rates.
    pub limits: Limits,
    /// Pictures and files, as bytes.
    pub media: Media,
    /// Rung when there is work for `jobs`.
    pub jobs: Notify,
    /// Names the history of this database.
    pub epoch: String,
    /// The users of other nodes that died, for whoever tells of it.
    pub gone: Mutex<mpsc::Receiver<Vec<UserId>>>,
}

impl App {
    /// Opens the store and puts the parts together.
    ///
    /// # Errors
    /// A sentence that says what to do.
    pub async fn open(config: Config) -> std::result::Result<Arc<App>, String> {
        let store = Arc::new(Store::open(&config, Use::Serving).await?);
        if !config.redis_url.is_empty() && !store.is_shared() {
            return Err("--redis-url: with SQLite there is one node; leave it out, or give a --database-url \
                        postgres://... that all nodes share"
                .to_owned());
        }
        if !config.redis_url.is_empty() && config.media_url.is_empty() {
            tracing::warn!("--media-url: the files of this node are its own; other nodes cannot give them out");
        }
        let hub = Arc::new(Hub::new(&config));
        let feed = Arc::new(Feed::new(Arc::clone(&hub)));
        let old_key = store.old_key(feed.clock.now()).await?;
        let old_key = old_key.map(|(key, until)| OldKey { key: key.into(), until });
        let auth = Auth::open(&config)?.with_old_key(old_key);
        let keys = auth.derived_keys("the URLs of files").map_err(|_| "the key cannot sign".to_owned())?;
        let media = Media::open(&config, &keys)?;
        let epoch = store.epoch().await?;
        let (gone_to, gone) = mpsc::channel(GONE);
        let nodes = Nodes::default();
        let bus = Arc::new(match config.redis_url.is_empty() {
            true => Bus::local(Arc::clone(&feed)),
            false => {
                Bus::between_nodes(&config, &store.installation().await?, Arc::clone(&feed), nodes.clone(), gone_to)?
            }
        });
        let told = Arc::clone(&bus);
        let writer = Writer::start(Arc::clone(&store), &config, move |written| told.publish(news(written)));
        let told = Arc::clone(&bus);
        let watermarks = Watermarks::start(Arc::clone(&store), &config, move |moved| told.publish(positions(moved)));
        let (limits, gone) = (Limits::new(&config, &nodes), Mutex::new(gone));
        Ok(Arc::new(App {
            config,
            store,
            writer,
            watermarks,
            hub,
            feed,
            bus,
            auth,
            limits,
            media,
            jobs: Notify::new(),
            epoch,
            gone,
        }))
    }

    /// Microseconds since 1970, by the clock that all nodes share.
    pub fn now(&self) -> Micros {
        self.feed.clock.now()
    }

    /// What this node lacks to do its work well, in a word each; nothing when all is well.
    pub async fn lacks(&self) -> Vec<&'static str> {
        let mut lacks = Vec::new();
        // A sweep that is late is as telling as a question that is not answered.
        let late = self.store.is_shared() && self.feed.since_sweep() > ms(self.config.sweep_ms) * 2;
        if late || self.store.read(Purpose::Server).await.is_err() {
            lacks.push("database");
        }
        if !self.bus.hears() {
            lacks.push("hearing");
        }
        lacks
    }

    /// Commits, then tells. What is told never leaves before its commit, and what other nodes do not hear of they find
    /// in the table of changes, which is written in the same transaction.
    pub async fn commit(&self, mut tx: Tx, notices: Vec<Notice>) -> Result<()> {
        let told = match self.store.is_shared() {
            true => self.note(&mut tx, notices).await?,
            false => notices.into(),
        };
        let bus = Arc::clone(&self.bus);
        if planted::is(Fault::PublishBeforeCommit) {
            bus.publish(told);
            return tx.commit(|| ()).await;
        }
        tx.commit(move || bus.publish(told)).await
    }

    /// Tells what is not kept.
    pub async fn tell(&self, conn: &mut Conn, notices: Vec<Notice>) -> Result<()> {
        let members = self.members(conn, &notices).await?;
        self.bus.publish(Told { notices, members });
        Ok(())
    }

    async fn note(&self, tx: &mut Conn, notices: Vec<Notice>) -> Result<Told> {
        let members = self.members(tx, &notices).await?;
        let changes: Vec<Change> = notices.iter().filter_map(change).collect();
        sweep::note(tx, &changes).await?;
        Ok(Told { notices, members })
    }

    /// The members of the conversations that notices are about, where other nodes are told and they are not too many.
    async fn members(&self, conn: &mut Conn, notices: &[Notice]) -> Result<HashMap<ConversationId, Vec<UserId>>> {
        let mut about: Vec<ConversationId> = notices.iter().filter_map(Notice::conversation).collect();
        about.sort_unstable();
        about.dedup();
        match self.bus.spans_nodes() && !about.is_empty() {
            true => sweep::members_of(conn, &about, self.config.lookup_max).await,
            false => Ok(HashMap::new()),
        }
    }
}

/// What a batch of committed messages tells.
fn news(written: Vec<Written>) -> Told {
    let mut told = Told::default();
    for Written { message, hidden_from, audience } in written {
        if let Some(members) = audience {
            told.members.insert(message.conversation, members);
        }
        told.notices.push(Notice::created(message, hidden_from));
    }
    told
}

/// What a batch of positions tells.
fn positions(moved: Vec<Moved>) -> Told {
    let mut told = Told::default();
    for Moved { conversation, watermarks, to_all, audience, change } in moved {
        if let Some(members) = audience {
            told.members.insert(conversation, members);
        }
        told.notices.push(Notice::Watermarks { conversation, watermarks, to_all, change });
    }
    told
}

/// What a sweep must find of a notice; nothing of what may be lost.
fn change(notice: &Notice) -> Option<Change> {
    Some(match notice {
        Notice::Moved { conversation, seq, .. } => Change::Moved(Stream::Conversation(*conversation), *seq),
        Notice::Personal { user, entry } => Change::Moved(Stream::Personal(*user), entry.seq),
        Notice::SessionsEnded { user, .. } => Change::Sessions(*user),
        // Watermarks are noted where they are written.
        Notice::Watermarks { .. }
        | Notice::EphemeralIn { .. }
        | Notice::EphemeralTo { .. }
        | Notice::Crowded { .. }
        | Notice::Spread { .. } => return None,
    })
}
