//! The TCP stream under a WebSocket. It bounds what the WebSocket library does not bound:
//!
//! - Bytes from one message to the next. Fragments without content add nothing to a message and never end it, so the code
//!   above would see nothing happen, however many come.
//! - Memory. The library keeps a buffer in each direction that is as large as the longest frame that ever went through
//!   it. So frames from the client are cut (see [`super::cutter`]), and frames to the client come here one by one
//!   and are gathered in a buffer that goes when all of it is written.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::cutter::{Cutter, TooLong};

/// Most bytes read at once from a connection. A typical command has a few hundred; a longer one is read in several steps.
const READ: usize = 1024;
/// From this many bytes on, what was gathered is written without waiting for a flush.
const GATHERED: usize = 16 << 10;

/// A stream of which only so many bytes can be read from one message to the next.
#[derive(Debug)]
pub struct Line {
    stream: TcpStream,
    most: usize,
    left: usize,
    cutter: Cutter,
    /// Bytes that were read and did not fit where they were asked for.
    overflow: Vec<u8>,
    /// A frame begins that is too long.
    too_long: bool,
    /// What is to be written, of which this many bytes are.
    gathered: Vec<u8>,
    written: usize,
}

impl Line {
    /// A stream on which no message takes more than `most` bytes, frame headers included, and no frame has more content
    /// than `frame_max`.
    pub fn new(stream: TcpStream, most: usize, frame_max: usize) -> Line {
        Line {
            stream,
            most,
            left: most,
            cutter: Cutter::new(frame_max),
            overflow: Vec::new(),
            too_long: false,
            gathered: Vec::new(),
            written: 0,
        }
    }

    /// Bytes that were read with the request before the stream became a WebSocket, as they are to be passed on.
    pub fn read_before(&mut self, bytes: &[u8]) {
        let overflow = &mut self.overflow;
        self.too_long |= self.cutter.pass(bytes, |bytes| overflow.extend_from_slice(bytes)).is_err();
    }

    /// A message was read: the next one may begin.
    pub fn refill(&mut self) {
        self.left = self.most;
    }

    /// The stream itself, without the limit.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Writes all that was gathered.
    fn poll_written(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        while self.written < self.gathered.len() {
            let rest = &self.gathered[self.written..];
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
        // An idle connection keeps no buffer.
        self.gathered = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let line = &mut *self;
        loop {
            if !line.overflow.is_empty() {
                let count = line.overflow.len().min(into.remaining());
                into.put_slice(&line.overflow[..count]);
                line.overflow.drain(..count);
                if line.overflow.is_empty() {
                    line.overflow = Vec::new();
                }
                return Poll::Ready(Ok(()));
            }
            if line.left == 0 || line.too_long {
                return Poll::Ready(Err(ErrorKind::FileTooLarge.into()));
            }
            let mut bytes = [0; READ];
            let room = into.remaining().saturating_sub(line.cutter.withheld()).clamp(1, READ);
            let mut read = ReadBuf::new(&mut bytes[..room]);
            ready!(Pin::new(&mut line.stream).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            line.left = line.left.saturating_sub(read.filled().len());
            let (before, overflow) = (into.filled().len(), &mut line.overflow);
            let passed = line.cutter.pass(read.filled(), |bytes| {
                let (now, later) = bytes.split_at(bytes.len().min(into.remaining()));
                into.put_slice(now);
                overflow.extend_from_slice(later);
            });
            line.too_long = passed == Err(TooLong);
            // Nothing passed on would mean that the client is gone.
            if into.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        if self.gathered.len() >= GATHERED {
            ready!(self.poll_written(context))?;
        }
        self.gathered.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.poll_written(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.poll_written(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Whether reading failed because a message took too many bytes.
pub fn is_too_much(error: &Error) -> bool {
    error.kind() == ErrorKind::FileTooLarge
}
