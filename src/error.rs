//! One error for every operation, seen three ways: a stable `code` on the wire, an HTTP status, and whether trying
//! again can help. Close codes, which end a socket, are the second and smaller table.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalogue::{Language, Sentence};
use crate::sentence;

/// What an operation returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Builds `ErrorCode` and its table from one list, so that the document, the schema and the code cannot differ.
macro_rules! error_codes {
    ($($variant:ident = $code:literal, $status:literal, $retryable:literal, $meaning:literal;)*) => {
        /// The stable name of a refusal. Clients decide by it; the text beside it is for people.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
        pub enum ErrorCode { $(#[doc = $meaning] #[serde(rename = $code)] $variant),* }

        impl ErrorCode {
            /// Every code, in the order of the document.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$variant),*];
            /// The name on the wire.
            pub fn as_str(self) -> &'static str { match self { $(ErrorCode::$variant => $code),* } }
            /// The HTTP status of the same refusal.
            pub fn status(self) -> u16 { match self { $(ErrorCode::$variant => $status),* } }
            /// Whether the same command may succeed later, unchanged.
            pub fn retryable(self) -> bool { match self { $(ErrorCode::$variant => $retryable),* } }
            /// One sentence for the document.
            pub fn meaning(self) -> &'static str { match self { $(ErrorCode::$variant => $meaning),* } }
        }
    };
}

error_codes! {
    InvalidJson = "invalid_json", 400, false, "The frame is not one JSON object.";
    InvalidFrame = "invalid_frame", 400, false, "The envelope is wrong: `id`, `type` or `data` is missing or of another type.";
    UnknownCommand = "unknown_command", 400, false, "No command has this `type`.";
    UnknownField = "unknown_field", 400, false, "`data` has a field that the command does not know.";
    MissingField = "missing_field", 400, false, "`data` lacks a field that the command needs.";
    InvalidField = "invalid_field", 400, false, "A field has the wrong type or a value outside its range.";
    TooLong = "too_long", 400, false, "A text or a list is longer than its limit.";
    NotAuthenticated = "not_authenticated", 401, false, "The first command on a socket must be `auth`.";
    InvalidCredentials = "invalid_credentials", 401, false, "The token, or the user name and password, are not valid.";
    WrongPassword = "wrong_password", 403, false, "The password given to confirm this is not yours.";
    Forbidden = "forbidden", 403, false, "You see it, but your role or a rule does not allow this.";
    MatchRequired = "match_required", 403, false, "This server opens direct conversations only between matches.";
    NotFound = "not_found", 404, false, "It does not exist, or you may not know that it does.";
    Blocked = "blocked", 409, false, "You have blocked this user. Unblock first.";
    KeyReused = "key_reused", 409, false, "This `client_key` was used before, with other content.";
    LimitReached = "limit_reached", 409, false, "A limit on how many there may be is reached.";
    RateLimited = "rate_limited", 429, true, "Too fast. Wait `retry_after_ms`.";
    UnknownOutcome = "unknown_outcome", 503, true, "It may or may not have been committed. Send it again with the same `client_key`.";
    Busy = "busy", 503, true, "The server cannot take it now and has changed nothing.";
    Internal = "internal", 500, true, "A fault of the server. The text carries a number to look for in its log.";
}

/// A refusal: what was wrong, where, and what to do. Never holds SQL, a stack or a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The stable name.
    pub code: ErrorCode,
    /// A sentence for people.
    pub message: Sentence,
    /// The path of the field at fault, such as `members[2]`.
    pub field: Option<String>,
    /// How long to wait before the same command can succeed.
    pub retry_after: Option<Duration>,
    /// Another transaction was faster; the operation as a whole may be run again at once.
    pub overtaken: bool,
}

impl Error {
    /// A refusal with a sentence for people.
    pub fn new(code: ErrorCode, message: Sentence) -> Error {
        Error { code, message, field: None, retry_after: None, overtaken: false }
    }

    /// The object does not exist for this reader. One text for unknown, hidden and blocked, so that they look alike.
    pub fn not_found(what: &'static str) -> Error {
        Error::new(ErrorCode::NotFound, sentence!("no-such", what = what))
    }

    /// A field has a value that cannot be taken.
    pub fn field(field: impl Into<String>, why: Sentence) -> Error {
        Error { field: Some(field.into()), ..Error::new(ErrorCode::InvalidField, why) }
    }

    /// A text or list is over its limit; `unit` is `characters`, `items` or the like.
    pub fn too_long(field: impl Into<String>, max: usize, unit: &str) -> Error {
        Error {
            field: Some(field.into()),
            ..Error::new(ErrorCode::TooLong, sentence!("at-most", max = max, unit = unit))
        }
    }

    /// Seen, but not allowed.
    pub fn forbidden(why: Sentence) -> Error {
        Error::new(ErrorCode::Forbidden, why)
    }

    /// Too fast; `wait` is how long until the next one passes.
    pub fn rate_limited(wait: Duration) -> Error {
        Error { retry_after: Some(wait), ..Error::new(ErrorCode::RateLimited, sentence!("too-fast")) }
    }

    /// The server cannot take it now and changed nothing.
    pub fn busy() -> Error {
        Error::new(ErrorCode::Busy, sentence!("busy"))
    }

    /// Another transaction changed the same at the same time and was faster; nothing was changed.
    pub fn overtaken() -> Error {
        Error { overtaken: true, ..Error::new(ErrorCode::Busy, sentence!("overtaken")) }
    }

    /// The commit was sent and its answer never came.
    pub fn unknown_outcome() -> Error {
        Error::new(ErrorCode::UnknownOutcome, sentence!("unknown-outcome"))
    }

    /// A fault of ours. The cause goes to the log under a number, and only the number to the client.
    pub fn internal(cause: impl fmt::Display) -> Error {
        let mut bytes = [0; 4];
        // A failing random source only makes the number useless for the search; the refusal still stands.
        let _ = getrandom::fill(&mut bytes);
        let incident = u32::from_be_bytes(bytes);
        tracing::error!(incident = format!("{incident:08x}"), %cause, "internal error");
        Error::new(ErrorCode::Internal, sentence!("internal", incident = format!("{incident:08x}")))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message.told_in(Language::English))
    }
}

impl std::error::Error for Error {}

/// The error object of a reply: `{"code","message","retryable"}`, and `field` and `retry_after_ms` where they apply.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ErrorBody<'a> {
    code: ErrorCode,
    message: String,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

impl<'a> ErrorBody<'a> {
    /// An error in a language.
    pub fn new(error: &'a Error, language: Language) -> ErrorBody<'a> {
        ErrorBody {
            code: error.code,
            message: error.message.told_in(language),
            retryable: error.code.retryable(),
            field: error.field.as_deref(),
            retry_after_ms: error.retry_after.map(|wait| wait.as_millis().max(1) as u64),
        }
    }
}

/// Builds `CloseCode` and its table from one list.
macro_rules! close_codes {
    ($($variant:ident = $number:literal, $again:literal, $meaning:literal;)*) => {
        /// Why the server ended a socket.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(into = "u16", try_from = "u16")]
        pub enum CloseCode { $(#[doc = $meaning] $variant),* }

        impl CloseCode {
            /// Every code, in the order of the document.
            pub const ALL: &[CloseCode] = &[$(CloseCode::$variant),*];
            /// The number in the close frame.
            pub fn number(self) -> u16 { match self { $(CloseCode::$variant => $number),* } }
            /// A word for it in logs and metrics.
            pub fn name(self) -> &'static str { match self { $(CloseCode::$variant => stringify!($variant)),* } }
            /// Whether the client should connect again with the credentials it has.
            pub fn reconnect(self) -> bool { match self { $(CloseCode::$variant => $again),* } }
            /// The reason text of the close frame (under 123 bytes) and the sentence of the document.
            pub fn meaning(self) -> &'static str { match self { $(CloseCode::$variant => $meaning),* } }
        }
    };
}

close_codes! {
    ProtocolError = 1002, false, "The frames break the WebSocket protocol.";
    Unsupported = 1003, false, "A binary frame came; duet speaks text frames.";
    TooBig = 1009, false, "A frame is larger than the limit that hello told.";
    Draining = 1012, true, "The server is going away. Wait the delay you were told, connect again and resume.";
    AuthTimeout = 4001, true, "No valid auth command came in time.";
    Expired = 4002, false, "The access token expired and was not renewed. Get a new one, connect again and resume.";
    Revoked = 4003, false, "The session was ended: logout, revocation, new password, disabled or deleted account.";
    Replaced = 4004, false, "This user has too many sockets, and this was the oldest.";
    TooManyErrors = 4005, false, "Too many frames in a row that could not be understood.";
    Flooding = 4006, true, "The rate limit was passed again and again.";
    Slow = 4007, true, "You read too slowly. Connect again and resume; nothing is lost.";
    Silent = 4008, true, "No answer to the server's pings.";
    Restarted = 4009, true, "The server could not go on with this socket. Connect again and resume.";
    Crowded = 4010, true, "Your address has too many sockets. Close some, or try again later.";
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> u16 {
        code.number()
    }
}

impl TryFrom<u16> for CloseCode {
    type Error = String;

    fn try_from(number: u16) -> std::result::Result<CloseCode, String> {
        let found = CloseCode::ALL.iter().find(|code| code.number() == number);
        found.copied().ok_or_else(|| format!("{number} is no close code"))
    }
}
