//! duet: a WebSocket-first chat and matching server.
//!
//! The path of a message: [`socket`] reads a frame, [`protocol`] parses it, [`ops`] judges and does it through the
//! [`store`], whose writer commits it; then the [`bus`] tells the [`feed`], which brings the event to the [`hub`], and
//! the [`socket`] of each recipient writes it out. ARCHITECTURE.md has the map and the rules.

pub mod app;
pub mod auth;
pub mod bus;
pub mod config;
pub mod error;
pub mod feed;
pub mod http;
pub mod hub;
pub mod limits;
pub mod matching;
pub mod model;
pub mod ops;
pub mod planted;
pub mod protocol;
pub mod socket;
pub mod store;
pub mod text;

use std::future::Future;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Serves until `shutdown` completes, then drains: stops accepting, sends the sockets away, lets what was begun finish.
///
/// # Errors
/// A sentence that says why the server could not start.
pub async fn run(
    config: config::Config,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> std::result::Result<(), String> {
    let app = app::App::open(config).await?;
    let draining = CancellationToken::new();
    let served = http::serve(app, listener, draining.clone());
    tokio::pin!(served);
    tokio::select! {
        () = &mut served => return Ok(()),
        () = shutdown => draining.cancel(),
    }
    served.await;
    Ok(())
}
