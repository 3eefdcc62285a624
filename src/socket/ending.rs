//! The end of a socket: which code it closes with, and that the code arrives.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{self, Error as WsError, Message};

use super::{Stream, line, next};
use crate::app::App;
use crate::config::ms;
use crate::error::CloseCode;
use crate::metrics;

/// How long the end of a session waits for the other side to take the close frame.
const LAST_FRAME: Duration = Duration::from_millis(300);

/// Sends a close frame, and gives the other side a moment to answer it.
pub(super) async fn close(app: &App, mut stream: Stream, code: CloseCode) {
    metrics::closed(code);
    let frame = CloseFrame { code: code.number().into(), reason: code.meaning().into() };
    let closing = async {
        if stream.close(Some(frame)).await.is_err() {
            return;
        }
        loop {
            match next(&mut stream).await {
                Some(Ok(Message::Close(_))) => return,
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            }
        }
        // What cannot be understood any more is still read: a connection that is dropped with bytes unread is reset, and
        // a reset may take the close frame with it.
        let line = stream.get_mut().stream();
        let mut unread = [0; 512];
        if line.shutdown().await.is_ok() {
            while matches!(line.read(&mut unread).await, Ok(1..)) {}
        }
    };
    let patience = ms(app.config.close_ms);
    // Whose session ended is out within a second, whether or not they read.
    let patience = if code == CloseCode::Revoked { patience.min(LAST_FRAME) } else { patience };
    // A peer that does not answer is left; the frame is on its way all the same.
    let _ = timeout(patience, closing).await;
}

/// What a broken stream is to be answered with; none if there is nobody to answer.
pub(super) fn broken(error: &WsError) -> Option<CloseCode> {
    match error {
        WsError::Capacity(tungstenite::error::CapacityError::MessageTooLong { .. }) => Some(CloseCode::TooBig),
        WsError::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => None,
        WsError::Protocol(_) | WsError::Utf8(_) => Some(CloseCode::ProtocolError),
        WsError::Io(error) if line::is_too_much(error) => Some(CloseCode::TooBig),
        _ => None,
    }
}
