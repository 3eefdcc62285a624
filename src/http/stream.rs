//! The TCP stream under HTTP, with the limits that hyper does not have:
//!
//! - A head must be there whole within a time of its own, from its first byte on; a connection that was answered may lie
//!   idle for longer than that.
//! - A write must make progress.
//! - A connection that has to give way to another is told so.

use std::future::Future;
use std::io::{ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep, timeout};

use crate::config::{Config, ms};
use crate::limits::{Permit, Phase};

/// How long a connection that the server ends may still send. What it sends is thrown away; a connection that is closed
/// with bytes unread is reset, and a reset may take the answer with it.
const LINGER: Duration = Duration::from_millis(500);
/// What a connection is told that has to give way, or is not let in.
pub(super) const CROWDED: &str = "{\"detail\":\"Too many connections. Try again in a moment.\"}";

/// What the service of a connection and its stream know of each other.
#[derive(Debug)]
pub(super) struct Progress {
    /// Its place among the connections.
    pub(super) permit: Arc<Permit>,
    /// Parts of requests that are not over: bodies that come, answers that go.
    parts: AtomicUsize,
    /// How many there were in all.
    begun: AtomicUsize,
    /// Wakes the connection when none is left, so that its pause begins to be measured.
    rest: AtomicWaker,
    /// The client takes an answer.
    answers: AtomicBool,
    /// The client was told that it has to give way.
    told: AtomicBool,
}

impl Progress {
    pub(super) fn new(permit: Permit) -> Arc<Progress> {
        Arc::new(Progress {
            permit: Arc::new(permit),
            parts: AtomicUsize::new(0),
            begun: AtomicUsize::new(0),
            rest: AtomicWaker::new(),
            answers: AtomicBool::new(false),
            told: AtomicBool::new(false),
        })
    }

    /// Part of a request begins; it is over when this is dropped.
    pub(super) fn begin(self: &Arc<Progress>) -> Underway {
        self.parts.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.permit.is(Phase::Working);
        Underway(Arc::clone(self))
    }

    /// The client was told by an answer.
    pub(super) fn is_told(&self) {
        self.told.store(true, Ordering::Relaxed);
    }

    /// Whether the client takes an answer.
    pub(super) fn is_answering(&self) -> bool {
        self.answers.load(Ordering::Relaxed)
    }

    fn is_at_work(&self) -> bool {
        self.parts.load(Ordering::Acquire) > 0
    }
}

/// Part of a request.
#[derive(Debug)]
pub(super) struct Underway(Arc<Progress>);

impl Underway {
    /// Says whether the client is waited for.
    pub(super) fn is(&self, phase: Phase) {
        self.0.answers.store(phase == Phase::Answered, Ordering::Relaxed);
        self.0.permit.is(phase);
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        if self.0.parts.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.rest.wake();
        }
    }
}

/// What is read next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The head of a request, or the rest of it.
    Head,
    /// Nothing yet: the connection lies idle.
    Nothing,
    /// Whatever belongs to the request at work.
    Body,
}

/// A stream on which a head, a pause and a write may each take only so long.
#[derive(Debug)]
pub(super) struct Stream {
    /// There until it is taken.
    stream: Option<TcpStream>,
    progress: Arc<Progress>,
    head: Duration,
    idle: Duration,
    write: Duration,
    next: Next,
    /// How many parts of requests had begun when this was looked at last.
    seen: usize,
    /// When what is read now has taken long enough.
    read_end: Option<Pin<Box<Sleep>>>,
    /// When the write that waits now has waited long enough.
    write_end: Option<Pin<Box<Sleep>>>,
    /// Takes the stream when hyper is done with it.
    back: Option<oneshot::Sender<TcpStream>>,
}

impl Stream {
    pub(super) fn new(stream: TcpStream, progress: Arc<Progress>, config: &Config) -> (Stream, Returned) {
        let (back, returned) = oneshot::channel();
        let [head, idle, write] = [config.header_ms, config.keep_alive_ms, config.write_ms].map(ms);
        let read_end = Some(Box::pin(sleep(head)));
        let (stream, next, seen, write_end, back) = (Some(stream), Next::Head, 0, None, Some(back));
        (Stream { stream, progress, head, idle, write, next, seen, read_end, write_end, back }, Returned(returned))
    }

    /// The stream itself, for whoever bounds it otherwise.
    pub(super) fn take(mut self) -> Option<TcpStream> {
        self.stream.take()
    }

    fn inner(&mut self) -> Result<Pin<&mut TcpStream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| ErrorKind::NotConnected.into())
    }

    fn turn_to(&mut self, next: Next) {
        self.next = next;
        self.read_end = match next {
            Next::Head => Some(Box::pin(sleep(self.head))),
            Next::Nothing => Some(Box::pin(sleep(self.idle))),
            Next::Body => None,
        };
        match next {
            Next::Head => self.progress.permit.is(Phase::Silent),
            Next::Nothing => self.progress.permit.is(Phase::Idle),
            Next::Body => {}
        }
    }

    /// Tells the client that it has to give way, unless it has yet to take an answer.
    fn tell(&mut self) {
        if self.write_end.is_none()
            && !self.progress.told.swap(true, Ordering::Relaxed)
            && let Some(stream) = &self.stream
        {
            // Fails where it went by itself.
            let _ = stream.try_write(crowded().as_bytes());
        }
    }

    /// What came of a write, unless it waits for too long.
    fn within<T>(&mut self, context: &mut Context<'_>, written: Poll<Result<T>>) -> Poll<Result<T>> {
        if written.is_ready() {
            self.write_end = None;
            return written;
        }
        let end = self.write_end.get_or_insert_with(|| Box::pin(sleep(self.write)));
        end.as_mut().poll(context).map(|()| Err(ErrorKind::TimedOut.into()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let (Some(stream), Some(back)) = (self.stream.take(), self.back.take()) {
            // Nobody takes it where the task of the connection was ended.
            let _ = back.send(stream);
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        // hyper has no reason of its own to look again when a request is over.
        self.progress.rest.register(context.waker());
        // A request may come and be answered between two looks.
        let begun = self.progress.begun.load(Ordering::Relaxed);
        if begun != std::mem::replace(&mut self.seen, begun) {
            self.turn_to(Next::Body);
        }
        if self.next == Next::Body && !self.progress.is_at_work() {
            self.turn_to(Next::Nothing);
        }
        if self.next != Next::Body && self.progress.permit.is_over() {
            self.tell();
            return Poll::Ready(Ok(()));
        }
        let before = into.filled().len();
        let read = self.inner()?.poll_read(context, into);
        if read.is_ready() {
            if self.next == Next::Nothing && into.filled().len() > before {
                self.turn_to(Next::Head);
            }
            return read;
        }
        // Too late, it is as if the client had gone.
        match &mut self.read_end {
            Some(end) => end.as_mut().poll(context).map(Ok),
            None => Poll::Pending,
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let written = self.inner()?.poll_write(context, bytes);
        self.within(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let written = self.inner()?.poll_write_vectored(context, pieces);
        self.within(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.inner()?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.inner()?.poll_shutdown(context)
    }
}

/// The stream of a connection that is over, unless it became something else.
#[derive(Debug)]
pub(super) struct Returned(oneshot::Receiver<TcpStream>);

impl Returned {
    /// Ends the connection so that the client gets its answer.
    pub(super) async fn end(self) {
        if let Ok(stream) = self.0.await {
            linger(stream).await;
        }
    }
}

/// Tells a client that is not let in why.
pub(super) async fn refuse(mut stream: TcpStream) {
    // Its buffer is empty; a client that is gone needs no answer.
    let _ = stream.write_all(crowded().as_bytes()).await;
    linger(stream).await;
}

fn crowded() -> String {
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Type: \
         application/json\r\nContent-Length: {}\r\n\r\n{CROWDED}",
        CROWDED.len()
    )
}

async fn linger(mut stream: TcpStream) {
    let mut unread = [0; 4096];
    let reading = async {
        if stream.shutdown().await.is_ok() {
            while matches!(stream.read(&mut unread).await, Ok(1..)) {}
        }
    };
    // Who sends on is cut off.
    let _ = timeout(LINGER, reading).await;
}
