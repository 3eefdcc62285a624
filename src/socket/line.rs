//! The TCP stream under a WebSocket, with a limit that the WebSocket itself does not have.
//!
//! Fragments without content add nothing to a message and never end it: to the code above, nothing happens, however
//! many come. Down here they are bytes.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A stream of which only so many bytes can be read from one message to the next.
#[derive(Debug)]
pub struct Line {
    stream: TcpStream,
    most: usize,
    left: usize,
}

impl Line {
    /// A stream on which no message takes more than `most` bytes, frame headers included.
    pub fn new(stream: TcpStream, most: usize) -> Line {
        Line { stream, most, left: most }
    }

    /// A message was read: the next one may begin.
    pub fn refill(&mut self) {
        self.left = self.most;
    }

    /// The stream itself, without the limit.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(ErrorKind::FileTooLarge.into()));
        }
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, into))?;
        self.left = self.left.saturating_sub(into.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Whether reading failed because a message took too many bytes.
pub fn is_too_much(error: &Error) -> bool {
    error.kind() == ErrorKind::FileTooLarge
}
