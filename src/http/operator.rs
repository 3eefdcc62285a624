//! The operator's listener: metrics and health details, apart from the users' port.

use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use warp::Filter;
use warp::http::StatusCode;

use super::listener;
use crate::app::App;
use crate::metrics;

/// Starts the listener, if the settings name one.
///
/// # Errors
/// A sentence that says what to do.
pub fn start(app: &Arc<App>, draining: &CancellationToken) -> std::result::Result<(), String> {
    let Some(wanted) = &app.config.operator_listen else { return Ok(()) };
    let listener = listener::open(wanted, "--operator-listen")?;
    let at = listener.local_addr().map_err(|cause| cause.to_string())?;
    tracing::info!("the operator's listener is on http://{at}");
    tokio::spawn(serve(Arc::clone(app), listener, metrics::install()?, draining.clone()));
    Ok(())
}

/// Serves `/metrics` in the Prometheus text format and `/health` as JSON, until `draining` is cancelled.
async fn serve(app: Arc<App>, listener: TcpListener, handle: PrometheusHandle, draining: CancellationToken) {
    let counted = Arc::clone(&app);
    let numbers = warp::path!("metrics").and(warp::get()).map(move || {
        metrics::here(counted.hub.socket_count(), counted.limits.open_connections());
        handle.render()
    });
    let draining_too = draining.clone();
    let health = warp::path!("health").and(warp::get()).then(move || {
        let (app, draining) = (Arc::clone(&app), draining_too.clone());
        async move {
            let lacks = app.lacks().await;
            let details = json!({
                "version": env!("CARGO_PKG_VERSION"),
                "epoch": app.epoch,
                "sockets": app.hub.socket_count(),
                "connections": app.limits.open_connections(),
                "database": !lacks.contains(&"database"),
                "hears": !lacks.contains(&"hearing"),
                "nodes": app.bus.nodes(),
                "draining": draining.is_cancelled(),
            });
            let well = lacks.is_empty() && !draining.is_cancelled();
            let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            warp::reply::with_status(warp::reply::json(&details), status)
        }
    });
    let serving = warp::serve(numbers.or(health)).incoming(listener);
    tokio::select! {
        () = serving.run() => {}
        () = draining.cancelled() => {}
    }
}
