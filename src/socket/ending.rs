//! The end of a socket: which code it closes with, and that the code arrives.

use std::time::Duration;

use futures_util::SinkExt;
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
        end(&mut stream).await;
    };
    let patience = ms(app.config.close_ms);
    // Whose session ended is out within a second, whether or not they read.
    let patience = if code == CloseCode::Revoked { patience.min(LAST_FRAME) } else { patience };
    // A peer that does not answer is left; the frame is on its way all the same.
    let _ = timeout(patience, closing).await;
}

/// Answers the close frame of a client, which is all that it still gets, and ends the connection.
pub(super) async fn answer(app: &App, mut stream: Stream) {
    let answering = async {
        // The answer lies in the stream since the frame was read.
        if stream.flush().await.is_ok() {
            end(&mut stream).await;
        }
    };
    let _ = timeout(ms(app.config.close_ms), answering).await;
}

/// Ends a connection on which nothing more is said. What cannot be understood any more is still read: a connection that
/// is dropped with bytes unread is reset, and a reset may take the close frame with it.
async fn end(stream: &mut Stream) {
    let line = stream.get_mut();
    let mut unread = [0; 512];
    // Writes first what the line has gathered, such as the answer to a close frame.
    if line.shutdown().await.is_ok() {
        while matches!(line.stream().read(&mut unread).await, Ok(1..)) {}
    }
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
