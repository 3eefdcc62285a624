//! The audit: a few sockets at a time, in turn, what this node holds of them is compared with the database: whether
//! their sessions stand, which conversations they follow, and how far their streams were told. Everything else that
//! keeps these in agreement is quicker; this is what nothing that was lost or forgotten outlives.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::sessions;
use crate::error::Result;
use crate::hub::{Hub, Rung};
use crate::model::{Stream, UserId};
use crate::planted::{self, Fault};
use crate::store::{Purpose, Store, streams};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// Sockets in one look: 15,000 take four minutes.
const SOCKETS: usize = 64;
/// Conversations that the sockets of one look follow, beyond the first socket.
const CONVERSATIONS: usize = 4_000;

struct Audit {
    hub: Arc<Hub>,
    store: Arc<Store>,
    /// The last socket that was looked at.
    after: u64,
    /// Streams that were further than this node was told at the last look; what was told may have been under way.
    ahead: Vec<(Stream, i64)>,
}

/// Audits one page of sockets after the other. Runs as long as the server.
pub async fn run(hub: Arc<Hub>, store: Arc<Store>) {
    let mut audit = Audit { hub, store, after: 0, ahead: Vec::new() };
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(error) = audit.once().await {
            // The same page comes again.
            tracing::debug!(%error, "sockets could not be audited");
        }
    }
}

impl Audit {
    async fn once(&mut self) -> Result<()> {
        let page = self.hub.page(self.after, SOCKETS, CONVERSATIONS);
        if page.is_empty() && self.ahead.is_empty() {
            self.after = 0;
            return Ok(());
        }
        let mut conn = self.store.read(Purpose::Server).await?;
        sessions::close_ended(&self.hub, &mut conn, &page).await?;
        let users: BTreeSet<UserId> = page.iter().map(|actor| actor.user).collect();
        let users: Vec<UserId> = users.into_iter().collect();
        let memberships = streams::memberships(&mut conn, &users).await?;
        drop(conn);
        self.after = page.last().and_then(|actor| actor.socket).unwrap_or(0);
        if planted::is(Fault::NoSweep) {
            return Ok(());
        }
        let mut rung = Rung::default();
        let late = self.ahead.drain(..).filter(|(stream, seq)| self.hub.jump(*stream, *seq, &mut rung)).count();
        let mut wrong = 0;
        for one in memberships {
            let conversations: Vec<_> = one.heads.iter().map(|head| head.conversation).collect();
            wrong += self.hub.reconcile(one.user, one.as_of, &conversations, &mut rung);
            let heads = one.heads.iter().map(|head| (Stream::Conversation(head.conversation), head.head));
            let streams = heads.chain([(Stream::Personal(one.user), one.as_of)]);
            self.ahead.extend(streams.filter(|(stream, seq)| self.hub.lacks(*stream, *seq)));
        }
        if late + wrong > 0 {
            tracing::debug!(late, wrong, "the audit repaired what nothing else had repaired before");
        }
        Ok(())
    }
}
