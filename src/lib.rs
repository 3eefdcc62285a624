//! duet: a WebSocket-first chat and matching server.
//!
//! The path of a message: [`socket`] reads a frame, [`protocol`] parses it, [`ops`] judges and does it through the
//! [`store`], whose writer commits it; then the [`bus`] tells the [`feed`], which brings the event to the [`hub`], and
//! the [`socket`] of each recipient writes it out. ARCHITECTURE.md has the map and the rules.

pub mod app;
pub mod auth;
pub mod bus;
pub mod catalogue;
pub mod clock;
pub mod config;
pub mod error;
pub mod feed;
pub mod http;
pub mod hub;
pub mod import;
pub mod jobs;
pub mod limits;
pub mod matching;
pub mod media;
pub mod metrics;
pub mod model;
pub mod operator;
pub mod ops;
pub mod output;
pub mod planted;
pub mod pool;
pub mod protocol;
pub mod socket;
pub mod store;
pub mod text;

use std::future::Future;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Serves until `shutdown` completes, then drains: stops accepting, sends the sockets away, lets what was begun finish.
///
/// # Errors
/// A sentence that says why the server could not go on.
pub async fn run(
    app: Arc<app::App>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> std::result::Result<(), String> {
    let draining = CancellationToken::new();
    http::operator::start(&app, &draining)?;
    let (feed, store) = (&app.feed, &app.store);
    let swept = if store.is_shared() { Some(feed::sweep::begin(store).await?) } else { None };
    // Ended with the server, by being dropped.
    let mut watching = JoinSet::new();
    watching.spawn(feed::sessions::pulse(Arc::clone(&app.hub), Arc::clone(store)));
    watching.spawn(feed::give_up(Arc::clone(&app.hub)));
    watching.spawn(feed::audit::run(Arc::clone(&app.hub), Arc::clone(store)));
    match swept {
        Some(begin) => {
            drop(watching.spawn(feed::sweep::run(Arc::clone(feed), Arc::clone(store), app.config.clone(), begin)))
        }
        None => drop(watching.spawn(feed::sessions::watch(Arc::clone(&app.hub), Arc::clone(store)))),
    }
    watching.spawn(ops::presence::tell_gone(Arc::clone(&app)));
    watching.spawn(ops::collect::run(Arc::clone(&app)));
    watching.spawn(ops::reindex::run(Arc::clone(&app)));
    watching.spawn(jobs::run(Arc::clone(&app)));
    let served = http::serve(Arc::clone(&app), listener, draining.clone());
    tokio::pin!(served);
    tokio::select! {
        () = &mut served => {}
        () = shutdown => {
            draining.cancel();
            served.await;
        }
    }
    app.bus.leave().await;
    Ok(())
}
