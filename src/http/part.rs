//! The bodies of requests and answers, which tell for how long a request is at work.

use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Frame, SizeHint};

use super::stream::Underway;
use crate::limits::Phase;

/// A body; the request is not over as long as this is there.
#[derive(Debug)]
pub(super) struct Part<B> {
    body: B,
    comes: bool,
    underway: Underway,
}

impl<B> Part<B> {
    /// One that the client sends, who is waited for whenever it is not there.
    pub(super) fn coming(body: B, underway: Underway) -> Part<B> {
        Part { body, comes: true, underway }
    }

    /// One that the client is sent.
    pub(super) fn going(body: B, underway: Underway) -> Part<B> {
        underway.is(Phase::Answered);
        Part { body, comes: false, underway }
    }
}

impl<B> Drop for Part<B> {
    fn drop(&mut self) {
        if !self.comes {
            self.underway.is(Phase::Working);
        }
    }
}

impl<B: Body + Unpin> Body for Part<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if self.comes {
            self.underway.is(if frame.is_pending() { Phase::Receiving } else { Phase::Working });
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
