//! Makes the index of words anew where an older version of duet made it, while the server serves.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::error::Result;
use crate::model::MessageId;
use crate::store::{Purpose, reindex, retried};

/// The pause after each step, so that messages go first.
const PAUSE: Duration = Duration::from_millis(20);
/// The pause after a step that failed.
const PATIENCE: Duration = Duration::from_secs(5);
/// Steps between two lines in the log.
const STEPS_TOLD: u64 = 200;

/// Runs until all is indexed.
pub async fn run(app: Arc<App>) {
    let mut steps = 0;
    loop {
        match step(&app).await {
            Ok(None) => break,
            Ok(Some(left)) => {
                steps += 1;
                if steps % STEPS_TOLD == 1 {
                    tracing::info!(below = left.0, "messages are indexed anew for search, newest first");
                }
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => {
                tracing::warn!(%error, "the index of words is made anew later");
                tokio::time::sleep(PATIENCE).await;
            }
        }
    }
    if steps > 0 {
        tracing::info!("all messages are indexed anew for search");
    }
}

async fn step(app: &App) -> Result<Option<MessageId>> {
    retried(|| async {
        let mut tx = app.store.begin(Purpose::Server).await?;
        let left = reindex::step(&mut tx).await?;
        app.commit(tx, Vec::new()).await?;
        Ok(left)
    })
    .await
}
