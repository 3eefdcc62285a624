//! What every operation needs, put together once.

use std::sync::Arc;
use std::time::SystemTime;

use crate::auth::Auth;
use crate::bus::{Bus, Notice};
use crate::config::Config;
use crate::error::Result;
use crate::hub::Hub;
use crate::limits::Limits;
use crate::model::Micros;
use crate::store::writer::Writer;
use crate::store::{Store, Tx, Use};

/// The server's parts.
#[derive(Debug)]
pub struct App {
    /// Settings and limits.
    pub config: Config,
    /// What lasts.
    pub store: Arc<Store>,
    /// The group commit of sends.
    pub writer: Writer,
    /// The sockets of this node.
    pub hub: Arc<Hub>,
    /// The way from a commit to the sockets.
    pub bus: Arc<Bus>,
    /// Tokens and passwords.
    pub auth: Auth,
    /// Rates.
    pub limits: Limits,
    /// Names the history of this database.
    pub epoch: String,
}

impl App {
    /// Opens the store and puts the parts together.
    ///
    /// # Errors
    /// A sentence that says what to do.
    pub async fn open(config: Config) -> std::result::Result<Arc<App>, String> {
        if !config.redis_url.is_empty() {
            return Err("--redis-url: this version of duet runs as one node; leave it out".to_owned());
        }
        let store = Arc::new(Store::open(&config, Use::Serving).await?);
        let auth = Auth::open(&config)?;
        let hub = Arc::new(Hub::new(&config));
        let bus = Arc::new(Bus::local(Arc::clone(&hub)));
        let epoch = store.epoch().await?;
        let told = Arc::clone(&bus);
        let writer = Writer::start(Arc::clone(&store), &config, move |written| {
            let notices = written.into_iter().map(|written| Notice::created(written.message, written.hidden_from));
            told.publish(&notices.collect::<Vec<_>>());
        });
        let limits = Limits::new(&config);
        Ok(Arc::new(App { config, store, writer, hub, bus, auth, limits, epoch }))
    }

    /// Microseconds since 1970, by this machine's clock.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn now(&self) -> Micros {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(Micros::MAX)
    }

    /// Commits, then tells. What is told leaves in the order of the commits, and never before them.
    pub async fn commit(&self, tx: Tx, notices: Vec<Notice>) -> Result<()> {
        let bus = Arc::clone(&self.bus);
        tx.commit(move || bus.publish(&notices)).await
    }
}
