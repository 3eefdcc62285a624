//! One task per socket. It owns the WebSocket; nobody else writes to it. One loop over the client's frames, the
//! outbox, the replies that are due and the clock.

mod cutter;
mod ending;
pub mod line;
mod opening;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Bytes, Error as WsError, Message, Utf8Bytes};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::catalogue::Language;
use crate::config::ms;
use crate::error::{CloseCode, Error, ErrorCode, Result};
use crate::feed;
use crate::hub::Socket;
use crate::limits::Permit;
use crate::metrics;
use crate::model::Micros;
use crate::ops;
use crate::ops::sessions::Authenticated;
use crate::protocol::events::{AuthExpiring, ServerDraining};
use crate::protocol::{Command, CommandId, Event, Parsed, encode_reply, parse};
use cutter::PIECE;
use ending::{answer, broken, close};
use line::Line;
use opening::{hello, open};

/// What the upgrade knew of the client.
#[derive(Debug)]
pub struct SocketStart {
    /// Who it is, where the `Authorization` header told it.
    pub authenticated: Option<Authenticated>,
    /// What it likes to be told errors in.
    pub language: Language,
    /// Its place among the connections of its address.
    pub permit: Arc<Permit>,
    /// Cancelled when the server goes away.
    pub draining: CancellationToken,
}

/// How long the replies to what was begun may hold up the end of a socket.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How soon a socket looks again whether this node knows which sessions stand.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Replies that are due; each future ends with an encoded frame.
type Due = Pin<Box<dyn Future<Output = Utf8Bytes> + Send>>;
type Stream = WebSocketStream<Line>;

/// Serves one socket from its upgrade to its end.
pub async fn run(app: Arc<App>, mut stream: Stream, start: SocketStart) {
    let (authenticated, id) = match Box::pin(open(&app, &mut stream, &start)).await {
        Ok(opened) => opened,
        Err(end) => return end.carry_out(&app, stream).await,
    };
    if !start.permit.authenticated() {
        return close(&app, stream, CloseCode::Crowded).await;
    }
    let socket = app.hub.register(authenticated.actor, app.now(), app.config.sockets_per_user);
    let registered = Registered { app: Arc::clone(&app), socket: Arc::clone(&socket) };
    socket.renewed(authenticated.expires_at);
    let mut session = Session {
        socket: Arc::clone(&socket),
        heard: Instant::now(),
        pinged: false,
        announced: 0,
        bad_frames: 0,
        refusals: 0,
        replies: Vec::new(),
        language: start.language,
        app: Arc::clone(&app),
    };
    let end = match Box::pin(hello(&app, &socket, &authenticated)).await {
        Ok(hello) => {
            session.replies.push(encode_reply(id.as_ref(), start.language, &Ok(hello)));
            ops::presence::came(&app, authenticated.actor);
            session.serve(&mut stream, &start.draining).await
        }
        Err(error) => {
            session.replies.push(encode_reply::<()>(id.as_ref(), start.language, &Err(error)));
            let _ = session.write(&mut stream).await;
            CloseCode::Restarted.into()
        }
    };
    drop(registered);
    end.carry_out(&app, stream).await;
}

/// A socket in the hub. It leaves with its task, also when that ends by a panic: else its user would stay here for ever.
struct Registered {
    app: Arc<App>,
    socket: Arc<Socket>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let last = self.app.hub.remove(&self.socket);
        self.app.bus.left(self.socket.actor.user);
        if last {
            ops::presence::went(&self.app, self.socket.actor);
        }
    }
}

/// How serving ended.
enum End {
    /// The line broke.
    Gone,
    /// The client sent a close frame.
    Closed,
    /// The server ends it.
    Close(CloseCode),
}

impl End {
    async fn carry_out(self, app: &App, stream: Stream) {
        match self {
            End::Gone => {}
            End::Closed => answer(app, stream).await,
            End::Close(code) => close(app, stream, code).await,
        }
    }
}

impl From<CloseCode> for End {
    fn from(code: CloseCode) -> End {
        End::Close(code)
    }
}

/// The next message.
async fn next(stream: &mut Stream) -> Option<std::result::Result<Message, WsError>> {
    let message = stream.next().await;
    stream.get_mut().refill();
    message
}

/// A text as the frames that it goes out in: one, or several pieces if it is long, since the WebSocket library keeps a
/// buffer of the longest frame.
fn pieces(text: Utf8Bytes) -> impl Iterator<Item = Message> {
    let text = Bytes::from(text);
    let (mut rest, mut kind) = (Some(text), Data::Text);
    std::iter::from_fn(move || {
        let mut content = rest.take()?;
        if content.len() > PIECE {
            rest = Some(content.split_off(PIECE));
        }
        let kind = std::mem::replace(&mut kind, Data::Continue);
        Some(Message::Frame(Frame::message(content, OpCode::Data(kind), rest.is_none())))
    })
}

struct Session {
    app: Arc<App>,
    socket: Arc<Socket>,
    /// Frames to be written next.
    replies: Vec<Utf8Bytes>,
    heard: Instant,
    pinged: bool,
    /// The end of the token that was last announced to the client.
    announced: Micros,
    bad_frames: u32,
    refusals: u32,
    language: Language,
}

impl Session {
    async fn serve(&mut self, stream: &mut Stream, draining: &CancellationToken) -> End {
        let mut due: FuturesUnordered<Due> = FuturesUnordered::new();
        let mut pull: Option<Pin<Box<dyn Future<Output = Result<()>> + Send>>> = None;
        loop {
            if let Err(end) = self.current(draining).await {
                return end;
            }
            let drained = self.socket.take(&mut self.replies);
            if drained > 0 {
                metrics::drained(drained);
            }
            if let Err(end) = self.write(stream).await {
                return end;
            }
            if let Some(code) = self.socket.closing() {
                return self.last_words(stream, due, code).await;
            }
            if pull.is_none() {
                pull = self.next_pull();
            }
            let in_flight_max = self.app.config.commands_in_flight;
            tokio::select! {
                frame = next(stream), if due.len() < in_flight_max => {
                    let heard = match self.current(draining).await {
                        Ok(()) => self.hear(frame),
                        Err(end) => Err(end),
                    };
                    match heard {
                        Ok(Some(reply)) => due.push(reply),
                        Ok(None) => {}
                        Err(end) => return end,
                    }
                }
                Some(reply) = due.next(), if !due.is_empty() => self.replies.push(reply),
                () = self.socket.bell.notified() => {}
                result = async { match &mut pull { Some(pull) => pull.await, None => std::future::pending().await } } => {
                    pull = None;
                    if result.is_err() {
                        return CloseCode::Restarted.into();
                    }
                }
                () = tokio::time::sleep_until(self.next_tick()) => if let Err(end) = self.tick(stream).await {
                    return end;
                },
                () = draining.cancelled() => return self.drain(stream, due).await,
            }
        }
    }

    /// Waits until this node knows which sessions stand, as it nearly always does: nothing is written or begun before.
    async fn current(&self, draining: &CancellationToken) -> std::result::Result<(), End> {
        while !self.app.hub.currency.holds() {
            if let Some(code) = self.socket.closing() {
                return Err(code.into());
            }
            if draining.is_cancelled() {
                return Err(CloseCode::Draining.into());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    /// Takes a frame from the client. Answers the reply to wait for, if it is not there at once.
    fn hear(&mut self, frame: Option<std::result::Result<Message, WsError>>) -> std::result::Result<Option<Due>, End> {
        let frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Err(broken(&error).map_or(End::Gone, End::Close)),
            None => return Err(End::Gone),
        };
        // Nothing is begun for a session that has ended, even if its frame was here first.
        if self.socket.closing().is_some() {
            return Ok(None);
        }
        self.heard = Instant::now();
        self.pinged = false;
        let allowed = self.app.limits.command(self.socket.actor.user, self.socket.nodes());
        if allowed.is_ok() {
            // Even the fastest flood gets a command through now and then, so that one does not undo all refusals.
            self.refusals = self.refusals.saturating_sub(1);
        }
        let text = match frame {
            Message::Text(text) => text,
            Message::Binary(_) => return Err(CloseCode::Unsupported.into()),
            Message::Close(_) => return Err(End::Closed),
            _ if allowed.is_err() => return self.refuse(None, Duration::ZERO),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return Ok(None),
        };
        let Parsed { id, command } = parse(&text);
        if let Err(wait) = allowed {
            return self.refuse(Some(id.as_ref()), wait);
        }
        match command {
            Ok(command) => {
                self.bad_frames = 0;
                Ok(self.begin(id, command))
            }
            Err(error) => {
                self.bad_frames += 1;
                self.replies.push(encode_reply::<()>(id.as_ref(), self.language, &Err(error)));
                let bad_frames_max = self.app.config.bad_frames;
                match bad_frames_max > 0 && self.bad_frames > bad_frames_max {
                    true => Err(CloseCode::TooManyErrors.into()),
                    false => Ok(None),
                }
            }
        }
    }

    fn refuse(&mut self, id: Option<Option<&CommandId>>, wait: Duration) -> std::result::Result<Option<Due>, End> {
        self.refusals += 1;
        if let Some(id) = id {
            self.replies.push(encode_reply::<()>(id, self.language, &Err(Error::rate_limited(wait))));
        }
        let refusals_max = self.app.config.flood_refusals;
        match refusals_max > 0 && self.refusals > refusals_max {
            true => Err(CloseCode::Flooding.into()),
            false => Ok(None),
        }
    }

    /// Starts a command. It is polled once before the next frame is looked at, so that commands take their places in
    /// the store's queues in the order they came. One that must wait goes on in a task of its own: a write to a slow
    /// client must not hold up a transaction. A send already lies with the store's writer, and only waits.
    fn begin(&mut self, id: Option<CommandId>, command: Command) -> Option<Due> {
        let is_send = matches!(command, Command::MessageSend(_));
        let mut reply = self.dispatch(id, command);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match reply.as_mut().poll(&mut context) {
            Poll::Ready(frame) => {
                self.replies.push(frame);
                None
            }
            Poll::Pending if is_send => Some(reply),
            Poll::Pending => {
                let language = self.language;
                let task = tokio::spawn(reply);
                Some(Box::pin(async move {
                    task.await.unwrap_or_else(|cause| encode_reply::<()>(None, language, &Err(Error::internal(cause))))
                }))
            }
        }
    }

    fn dispatch(&mut self, id: Option<CommandId>, command: Command) -> Due {
        use ErrorCode::{Busy, Internal, UnknownOutcome};
        let (app, socket, language) = (Arc::clone(&self.app), Arc::clone(&self.socket), self.language);
        match command {
            Command::Resume(input) => Box::pin(async move {
                let resumed = feed::resume(&app.store, &app.hub, &app.config, &app.epoch, &socket, input).await;
                encode_reply(id.as_ref(), language, &resumed)
            }),
            Command::AuthRefresh(input) => Box::pin(async move {
                let renewed = ops::sessions::auth_refresh(&app, socket.actor, input).await;
                if let Ok(renewed) = &renewed {
                    socket.renewed(renewed.expires_at);
                }
                encode_reply(id.as_ref(), language, &renewed)
            }),
            command => Box::pin(async move {
                let is_send = matches!(command, Command::MessageSend(_));
                let answer = ops::dispatch(&app, socket.actor, language, id.as_ref(), command).await;
                // Later ones of this socket must not overtake a message that the server could not take. The writer takes
                // no more of them, and the client comes again and repeats all that was not answered in its order.
                if is_send && matches!(answer.refused, Some(UnknownOutcome | Busy | Internal)) {
                    socket.close(CloseCode::Restarted);
                }
                answer.frame
            }),
        }
    }

    /// A page to read, if the socket is behind somewhere and nothing waits to be written.
    fn next_pull(&self) -> Option<Pin<Box<dyn Future<Output = Result<()>> + Send>>> {
        let pull = feed::next_pull(&self.socket)?;
        let (app, socket) = (Arc::clone(&self.app), Arc::clone(&self.socket));
        Some(Box::pin(async move { feed::pull(&app.store, &app.hub, &app.config, &socket, pull).await }))
    }

    /// Writes all that waits: each frame into the buffer, one flush. A reader that is too slow is closed; what it did
    /// not get it reads after its next resume.
    async fn write(&mut self, stream: &mut Stream) -> std::result::Result<(), End> {
        if self.replies.is_empty() {
            return Ok(());
        }
        let frames = std::mem::take(&mut self.replies);
        let writing = async {
            for piece in frames.into_iter().flat_map(pieces) {
                stream.feed(piece).await?;
            }
            stream.flush().await
        };
        let mut rung = false;
        // A reader who does not read cannot put off the end of its session.
        let must_close = async {
            loop {
                if let Some(code) = self.socket.closing() {
                    return code;
                }
                self.socket.bell.notified().await;
                rung = true;
            }
        };
        let end = tokio::select! {
            biased;
            written = timeout(ms(self.app.config.write_ms), writing) => match written {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) => Err(End::Gone),
                Err(_) => Err(CloseCode::Slow.into()),
            },
            code = must_close => Err(code.into()),
        };
        if rung {
            self.socket.bell.notify_one();
        }
        end
    }

    /// When to look at the clock next: a ping is due, an answer is overdue, or the token nears its end.
    fn next_tick(&self) -> Instant {
        let config = &self.app.config;
        let silence = if self.pinged { config.silent_ms } else { config.ping_ms };
        let expires_at = self.socket.expires_at();
        let left = expires_at - self.app.now();
        let notice = if self.announced == expires_at { 0 } else { config.expiry_notice_s * 1_000_000 };
        let expiry = Duration::from_micros(u64::try_from(left - notice).unwrap_or(0));
        (self.heard + ms(silence)).min(Instant::now() + expiry)
    }

    async fn tick(&mut self, stream: &mut Stream) -> std::result::Result<(), End> {
        let config = &self.app.config;
        let expires_at = self.socket.expires_at();
        let left = expires_at - self.app.now();
        if left <= 0 {
            return Err(CloseCode::Expired.into());
        }
        if self.announced != expires_at && left <= config.expiry_notice_s * 1_000_000 {
            self.announced = expires_at;
            self.replies.push(Event::AuthExpiring(AuthExpiring { expires_at }).encode());
        }
        let silent = self.heard.elapsed();
        if silent >= ms(config.silent_ms) {
            return Err(CloseCode::Silent.into());
        }
        if !self.pinged && silent >= ms(config.ping_ms) {
            self.pinged = true;
            let pinging = stream.send(Message::Ping(Default::default()));
            return match timeout(ms(config.write_ms), pinging).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) => Err(End::Gone),
                Err(_) => Err(CloseCode::Slow.into()),
            };
        }
        Ok(())
    }

    /// The server goes away: the client is told when to come back.
    async fn drain(&mut self, stream: &mut Stream, due: FuturesUnordered<Due>) -> End {
        let mut random = [0; 8];
        // Without a random source all come back at once, which is no worse than not telling them.
        let _ = getrandom::fill(&mut random);
        let delay_ms = (u64::from_le_bytes(random) % self.app.config.drain_spread_ms.max(1)) as i64;
        self.replies.push(Event::ServerDraining(ServerDraining { delay_ms }).encode());
        self.last_words(stream, due, CloseCode::Draining).await
    }

    /// What was begun is answered before the socket closes, if that takes but a moment. Events are not told any more:
    /// a client that comes back reads them, and one whose session ended must not.
    async fn last_words(&mut self, stream: &mut Stream, mut due: FuturesUnordered<Due>, code: CloseCode) -> End {
        let answers = async {
            while let Some(reply) = due.next().await {
                self.replies.push(reply);
            }
        };
        let _ = timeout(LAST_WORDS, answers).await;
        match self.write(stream).await {
            Ok(()) => code.into(),
            Err(end) => end,
        }
    }
}
