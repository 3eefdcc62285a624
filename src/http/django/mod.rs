//! The REST API that clients of the Django service know: its paths, shapes and texts over the same operations as the
//! WebSocket. `docs/django.md` says where it differs, and why.
//!
//! One table says what can be called; routing, `Allow`, OPTIONS and the tests go by it. Each request is judged in the
//! order in which Django REST framework does: what may be answered, who asks, the method, the body, the fields.

mod accounts;
mod answers;
mod body;
mod conversations;
mod form;
mod matching;
mod messages;
mod negotiation;
mod paging;
mod parts;
mod schema;
mod shapes;
mod users;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use schemars::{Schema, SchemaGenerator};
use serde::Serialize;
use warp::Buf;
use warp::http::header::{ACCEPT_LANGUAGE, ALLOW, HeaderValue, VARY};
use warp::http::{HeaderMap, Method, StatusCode};
use warp::reply::Response;

use super::Client;
use super::credentials::{self, Shown};
use crate::app::App;
use crate::catalogue::Language;
use crate::error::{Error, ErrorCode};
use crate::media::Wanted;
use crate::model::{Actor, Attachment, Text};
use crate::ops::{self, files, sessions};
use crate::sentence;
use answers::{Answer, FieldErrors, Refusal, Said, json};
use body::Body;
use parts::Sender;

use form::{Field, Form};
use negotiation::Rendering;
use paging::List;
use shapes::{Conversation, Match, MatchUser, Message, Preferences, UserFull, UserPlaced};

pub(super) use answers::{detail, no_such_path};
pub(super) use negotiation::preflight;
pub use schema::document;

/// What can be called at one path.
struct Endpoint {
    /// Segments; `<id>` stands for a number.
    path: &'static str,
    /// What OPTIONS calls it.
    name: &'static str,
    access: Access,
    verbs: &'static [Verb],
}

/// Who may call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    /// Anybody; a token is not looked at.
    Open,
    /// Anybody; a bad token is refused.
    Shown,
    /// Who shows a good token.
    Needed,
}

/// A method, what does it, what it may be told and what it answers.
struct Verb {
    method: Method,
    work: fn(Call) -> Pin<Box<dyn Future<Output = Answer> + Send>>,
    takes: &'static [Field],
    status: u16,
    gives: fn(&mut SchemaGenerator) -> Schema,
}

macro_rules! endpoints {
    ($($path:literal $name:literal $access:ident {
        $($method:ident $work:path $([$takes:path])? => $status:literal $gives:ty),+ $(,)?
    })*) => {
        const ENDPOINTS: &[Endpoint] = &[$(Endpoint {
            path: $path,
            name: $name,
            access: Access::$access,
            verbs: &[$(Verb {
                method: Method::$method,
                work: |call| Box::pin($work(call)),
                takes: { const TAKES: &[&[Field]] = &[$($takes,)? &[]]; TAKES[0] },
                status: $status,
                gives: |schemas| schemas.subschema_for::<$gives>(),
            }),+],
        }),*];

        /// Each method of each path, in the order of the contract.
        pub const ROUTES: &[(&str, &str)] = &[$($((stringify!($method), $path)),+),*];
    };
}

endpoints! {
    "/api/token/" "Token Obtain Pair" Open { POST accounts::token [accounts::TOKEN] => 200 accounts::Pair }
    "/api/token/refresh/" "Token Refresh" Open { POST accounts::refresh [accounts::REFRESH] => 200 accounts::Refreshed }
    "/api/v1/auth/register/" "Register" Shown {
        POST accounts::register [accounts::REGISTER] => 201 accounts::Registered
    }
    "/api/v1/auth/logout/" "Logout" Needed { POST accounts::logout [accounts::LOGOUT] => 200 Said }
    "/api/v1/auth/profile/" "Profile" Needed {
        GET users::own => 200 UserFull,
        PUT users::update [users::PROFILE] => 200 UserPlaced,
        PATCH users::update [users::PROFILE] => 200 UserPlaced,
    }
    "/api/v1/auth/users/<id>/" "User Detail" Needed { GET users::other => 200 UserFull }
    "/api/v1/auth/change-password/" "Change Password" Needed {
        PUT accounts::change_password [accounts::CHANGE_PASSWORD] => 200 Said,
        PATCH accounts::change_password [accounts::CHANGE_PASSWORD] => 200 Said,
    }
    "/api/v1/auth/update-status/" "Update Status" Needed { POST users::here => 200 Said }
    "/api/v1/" "Api Root" Needed { GET conversations::root => 200 conversations::Root }
    "/api/v1/conversations/" "Conversation List" Needed {
        GET conversations::list => 200 List<Conversation>,
        POST conversations::create [conversations::CREATE] => 201 Conversation,
    }
    "/api/v1/conversations/<id>/" "Conversation Instance" Needed {
        GET conversations::get => 200 Conversation,
        PUT conversations::update [conversations::UPDATE] => 200 Conversation,
        PATCH conversations::update [conversations::UPDATE] => 200 Conversation,
        DELETE conversations::delete => 204 (),
    }
    "/api/v1/conversations/<id>/leave/" "Leave" Needed { DELETE conversations::leave => 200 Said }
    "/api/v1/conversations/<id>/messages/" "Message List" Needed {
        GET messages::list => 200 List<Message>,
        POST messages::create [messages::CREATE] => 201 Message,
    }
    "/api/v1/conversations/<id>/messages/<id>/" "Message Instance" Needed {
        GET messages::get => 200 Message,
        PUT messages::update [messages::CREATE] => 200 Message,
        PATCH messages::update [messages::PATCH] => 200 Message,
        DELETE messages::delete => 204 (),
    }
    "/api/v1/conversations/<id>/messages/<id>/mark_read/" "Mark Read" Needed { POST messages::mark_read => 200 Said }
    "/api/v1/matching/preferences/" "User Preference" Needed {
        GET matching::preferences => 200 Preferences,
        PUT matching::update_preferences [matching::PREFERENCES] => 200 Preferences,
        PATCH matching::update_preferences [matching::PREFERENCES] => 200 Preferences,
    }
    "/api/v1/matching/potential-matches/" "Potential Matches" Needed {
        GET matching::potential_matches => 200 List<MatchUser>
    }
    "/api/v1/matching/like/" "Like User" Needed { POST matching::like [matching::PERSON] => 201 matching::Liked }
    "/api/v1/matching/unlike/" "Unlike User" Needed { POST matching::unlike [matching::PERSON] => 200 Said }
    "/api/v1/matching/block/" "Block User" Needed { POST matching::block [matching::PERSON] => 200 Said }
    "/api/v1/matching/unblock/" "Unblock User" Needed { POST matching::unblock [matching::PERSON] => 200 Said }
    "/api/v1/matches/" "Match List" Needed { GET matching::matches => 200 List<Match> }
    "/api/v1/matches/<id>/" "Match Instance" Needed { GET matching::one_match => 200 Match }
    "/api/schema/" "Schema" Open { GET schema::get => 200 schema::OpenApi }
}

/// The version of the API from which on lists come in pages for those who ask for one.
const PAGED_VERSION: u32 = 2;
/// The paths at and below which a suffix `.json` is understood.
const SUFFIXED: [&str; 2] = ["/api/v1/conversations", "/api/v1/matches"];

/// A request, taken apart as far as all endpoints need it.
#[derive(Clone)]
struct Call {
    app: Arc<App>,
    client: Client,
    /// Who asks, where that is known.
    shown: Option<Actor>,
    language: Language,
    /// What the body may say.
    takes: &'static [Field],
    /// The numbers in the path, from the left.
    ids: Vec<i64>,
    path: String,
    query: Vec<(String, String)>,
    /// Whether the client's questions for pages of lists count.
    paged: bool,
    body: Arc<Body>,
}

impl Call {
    fn actor(&self) -> Result<Actor, Refusal> {
        self.shown.ok_or_else(Refusal::not_provided)
    }

    /// A number of the path.
    fn id(&self, place: usize) -> i64 {
        self.ids.get(place).copied().unwrap_or_default()
    }

    /// The fields of the body, judged.
    fn form(&self) -> Form {
        Form::judge(self.takes, &self.body)
    }

    /// The file that came under a name, taken in. A refusal is told under that name.
    async fn file(&self, name: &str, wanted: Wanted) -> Result<Option<Text>, Refusal> {
        let Some(file) = self.body.file(name) else { return Ok(None) };
        match file.taken(&self.app, self.actor()?, wanted).await {
            Ok(taken) => Ok(Some(Text::without_nul(&taken.id))),
            Err(error) if error.field.is_some() => {
                let not_shown = matches!(error.message.name(), "picture-expected" | "picture-broken");
                let message = if not_shown { sentence!("no-picture") } else { error.message };
                Err(FieldErrors::of(name, message).into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Where the caller can fetch a file.
    fn url_of(&self, file: &Attachment) -> Option<String> {
        files::link(&self.app, self.shown?.user, file).ok().map(|link| link.url)
    }

    fn asked(&self, name: &str) -> Option<&str> {
        self.query.iter().rev().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }
}

/// What warp takes apart of a request.
pub(super) struct Parts<S> {
    pub(super) client: Client,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: S,
}

/// Answers a request to the API; a page where there is no such path.
pub(super) async fn answer<S, B>(app: Arc<App>, parts: Parts<S>) -> Response
where
    S: Stream<Item = Result<B, warp::Error>> + Send,
    B: Buf + Send,
{
    let Some((endpoint, ids)) = find(&parts.path) else { return no_such_path() };
    if negotiation::is_preflight(&parts.method, &parts.headers) {
        return preflight();
    }
    let wanted = parts.headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    let language = wanted.and_then(Language::accepted).unwrap_or(app.config.language);
    let (rendering, answer) = match negotiation::rendering(&parts.headers, &body::pairs(parts.query.as_bytes())) {
        Ok(rendering) => (rendering, judge(app, endpoint, ids, language, parts).await),
        Err(refusal) => (Rendering::Json, Err(refusal)),
    };
    let mut response = answer.unwrap_or_else(|refusal| refusal.told_in(language));
    if let Ok(allow) = HeaderValue::from_str(&endpoint.allows()) {
        response.headers_mut().insert(ALLOW, allow);
    }
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept, Accept-Language, origin"));
    rendering.apply(endpoint.name, response).await
}

async fn judge<S, B>(
    app: Arc<App>,
    endpoint: &'static Endpoint,
    ids: Option<Vec<i64>>,
    language: Language,
    parts: Parts<S>,
) -> Answer
where
    S: Stream<Item = Result<B, warp::Error>> + Send,
    B: Buf + Send,
{
    let shown = match endpoint.access {
        Access::Open => None,
        Access::Shown | Access::Needed => bearer(&app, &parts.headers).await?,
    };
    if endpoint.access == Access::Needed && shown.is_none() {
        return Err(Refusal::not_provided());
    }
    if let Some(actor) = shown {
        parts.client.is_known();
        app.limits.command(actor.user, app.bus.nodes()).map_err(Error::rate_limited)?;
    }
    if parts.method == Method::OPTIONS {
        return Ok(json(StatusCode::OK, &Description::of(endpoint)));
    }
    let asked = if parts.method == Method::HEAD { Method::GET } else { parts.method.clone() };
    let verb = endpoint.verbs.iter().find(|verb| verb.method == asked).ok_or_else(|| {
        let method = parts.method.as_str();
        Refusal::Detail(StatusCode::METHOD_NOT_ALLOWED, sentence!("method-not-allowed", method = method))
    })?;
    let ids = ids.ok_or_else(Refusal::not_found)?;
    // Where nothing can be said, whatever is said is not looked at.
    let body = match verb.takes.is_empty() {
        true => Body::default(),
        false => {
            let (config, media, limits) = (&app.config, &app.media, &app.limits);
            let sender = Sender { config, media, limits, actor: shown, address: parts.client.address };
            Body::take(sender, &parts.headers, verb.takes, parts.body).await?
        }
    };
    let paged = app.config.older_api_pages || negotiation::version(&parts.headers) >= PAGED_VERSION;
    let (client, path, query) = (parts.client, parts.path, body::pairs(parts.query.as_bytes()));
    let (takes, body) = (verb.takes, Arc::new(body));
    work(verb, Call { app, client, shown, language, takes, ids, path, query, paged, body }).await
}

/// Does what was asked. What another transaction overtook is done again as a whole, as for the WebSocket.
async fn work(verb: &'static Verb, call: Call) -> Answer {
    let done = ops::retried(|| {
        let working = (verb.work)(call.clone());
        async move {
            match working.await {
                Err(Refusal::Operation(error)) => Err(error),
                answer => Ok(answer),
            }
        }
    });
    done.await.unwrap_or_else(|error| Err(error.into()))
}

/// The endpoint of a path, and the numbers in it; none of these where one is no number of 64 bits.
fn find(path: &str) -> Option<(&'static Endpoint, Option<Vec<i64>>)> {
    let bare = path.strip_suffix('/').unwrap_or(path);
    let suffixed = SUFFIXED.iter().any(|path| bare.starts_with(path));
    let bare = bare.strip_suffix(".json").filter(|_| suffixed).unwrap_or(bare);
    let given: Vec<&str> = bare.split('/').collect();
    ENDPOINTS.iter().find_map(|endpoint| {
        let wanted: Vec<&str> = endpoint.path.trim_end_matches('/').split('/').collect();
        let fits = |(wanted, given): (&&str, &&str)| *wanted == "<id>" && !given.is_empty() || wanted == given;
        if wanted.len() != given.len() || !wanted.iter().zip(&given).all(fits) {
            return None;
        }
        let numbers = wanted.iter().zip(&given).filter(|(wanted, _)| **wanted == "<id>").map(|(_, given)| *given);
        let ids: Option<Vec<i64>> = numbers.map(|given| given.parse().ok().filter(|id| *id >= 0)).collect();
        // Users were found by a path for digits only; anything else was no path at all.
        let is_path = ids.is_some() || !endpoint.path.contains("/users/");
        is_path.then_some((endpoint, ids))
    })
}

impl Endpoint {
    /// The methods, as every answer of the API names them.
    fn allows(&self) -> String {
        let mut methods: Vec<&str> = self.verbs.iter().map(|verb| verb.method.as_str()).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods.push("OPTIONS");
        methods.join(", ")
    }
}

/// What OPTIONS tells of an endpoint.
#[derive(Serialize)]
struct Description {
    name: &'static str,
    description: &'static str,
    renders: [&'static str; 2],
    parses: [&'static str; 3],
}

impl Description {
    fn of(endpoint: &Endpoint) -> Description {
        Description {
            name: endpoint.name,
            description: "",
            renders: ["application/json", "text/html"],
            parses: ["application/json", "application/x-www-form-urlencoded", "multipart/form-data"],
        }
    }
}

/// Who calls, by the `Authorization` header; nobody without one of this scheme.
async fn bearer(app: &App, headers: &HeaderMap) -> Result<Option<Actor>, Refusal> {
    let token = match credentials::bearer(headers) {
        Shown::Nothing => return Ok(None),
        Shown::Malformed => {
            let code = Some("bad_authorization_header");
            return Err(Refusal::Unauthorized { detail: sentence!("bad-header"), code, token: None });
        }
        Shown::Token(token) => token,
    };
    match sessions::authenticate(app, token).await {
        Ok(authenticated) => Ok(Some(authenticated.actor)),
        Err(error) if error.code != ErrorCode::InvalidCredentials => Err(error.into()),
        Err(error) => {
            let code = match error.message.name() {
                "user-gone" => "user_not_found",
                "user-disabled" => "user_inactive",
                "token-nobody" => "token_not_valid",
                _ => return Err(Refusal::bad_access_token(error.message)),
            };
            Err(Refusal::Unauthorized { detail: error.message, code: Some(code), token: None })
        }
    }
}
