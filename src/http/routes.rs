//! The REST surface for signing in and out, with the shapes of the Django API that duet replaces; and the health checks.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use futures_util::Stream;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use warp::filters::BoxedFilter;
use warp::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    AUTHORIZATION, HeaderValue,
};
use warp::http::{HeaderMap, Method, StatusCode};
use warp::reply::{Reply, Response};
use warp::{Buf, Filter, Rejection};

use super::Client;
use super::answers::{
    Answer, FieldErrors, Refusal, allowing, bad_access_token, detail, json, method_not_allowed, no_such_path, refusal,
    unauthorized,
};
use super::body::{Fields, Rule, read};
use crate::app::App;
use crate::auth;
use crate::config::ms;
use crate::error::{Error, ErrorCode};
use crate::model::Actor;
use crate::ops::accounts::{self, Register};
use crate::ops::sessions::{self, Login};
use crate::text;

const ALLOW_POST: &str = "POST, OPTIONS";
const ALLOW_GET: &str = "GET, HEAD, OPTIONS";
/// Longest e-mail address, in characters.
const EMAIL_MAX: usize = 254;
/// Longest name of a user, in characters.
const NAME_MAX: usize = 150;

/// Every route besides the socket, with the method that it is for.
pub const ROUTES: &[(&str, &str)] = &[
    ("POST", "/api/v1/auth/register/"),
    ("POST", "/api/v1/auth/logout/"),
    ("POST", "/api/token/"),
    ("POST", "/api/token/refresh/"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
];

/// A request whose sender and body were taken apart.
struct Call {
    app: Arc<App>,
    client: Client,
    /// Who it is, where the request says so.
    actor: Option<Actor>,
    fields: Fields,
}

/// Every route; what none of them takes is answered at the end, once.
pub(super) fn all(app: &Arc<App>, draining: &CancellationToken) -> BoxedFilter<(Response,)> {
    let api = warp::path!("api" / "v1" / "auth" / "register").and(post(app, "Register", true, register));
    let api = api.or(warp::path!("api" / "v1" / "auth" / "logout").and(post(app, "Logout", true, logout))).unify();
    let api = api.or(warp::path!("api" / "token").and(post(app, "Token Obtain Pair", false, token))).unify();
    let api = api.or(warp::path!("api" / "token" / "refresh").and(post(app, "Token Refresh", false, refresh))).unify();
    let health = warp::path!("healthz").and(get(app, draining, |_, _| async { true }));
    let ready = warp::path!("readyz").and(get(app, draining, is_ready));
    let all = api.or(health).unify().or(ready).unify();
    all.recover(|_: Rejection| async { Ok::<_, Infallible>(no_such_path()) }).unify().boxed()
}

/// An endpoint for POST. `reads_token`: a token that is shown is judged, and a bad one refused, even where none is
/// needed.
fn post<F, R>(
    app: &Arc<App>,
    name: &'static str,
    reads_token: bool,
    work: F,
) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + use<F, R>
where
    F: Fn(Call) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Answer> + Send,
{
    let app = Arc::clone(app);
    let parts = warp::ext::get::<Client>().and(warp::method()).and(warp::header::headers_cloned());
    parts.and(warp::body::stream()).then(move |client, method: Method, headers: HeaderMap, body| {
        let (app, work) = (Arc::clone(&app), work.clone());
        async move {
            if method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
                return preflight();
            }
            let answer = async {
                let actor = if reads_token { bearer(&app, &headers).await? } else { None };
                match method {
                    Method::POST => {}
                    Method::OPTIONS => return Ok(json(StatusCode::OK, &Description::of(name))),
                    _ => return Err(method_not_allowed(&method)),
                }
                let fields = fields(&app, &headers, body).await?;
                work(Call { app, client, actor, fields }).await
            };
            allowing(answer.await.unwrap_or_else(|refusal| *refusal), ALLOW_POST)
        }
    })
}

async fn fields<B: Buf>(
    app: &App,
    headers: &HeaderMap,
    body: impl Stream<Item = Result<B, warp::Error>>,
) -> Result<Fields, Refusal> {
    // A body gets as long as a head.
    let bytes = read(body, app.config.body_max, ms(app.config.header_ms)).await?;
    Fields::parse(headers, &bytes)
}

/// What OPTIONS tells of an endpoint.
#[derive(Serialize)]
struct Description {
    name: &'static str,
    description: &'static str,
    renders: [&'static str; 1],
    parses: [&'static str; 2],
}

impl Description {
    fn of(name: &'static str) -> Description {
        let parses = ["application/json", "application/x-www-form-urlencoded"];
        Description { name, description: "", renders: ["application/json"], parses }
    }
}

/// What a browser asks before a page of an allowed origin may call; for others the answer lacks their origin.
fn preflight() -> Response {
    let mut response = warp::reply().into_response();
    let headers = response.headers_mut();
    let methods = HeaderValue::from_static("DELETE, GET, OPTIONS, PATCH, POST, PUT");
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("accept, authorization, content-type"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    response
}

/// An endpoint that tells only whether all is well.
fn get<F, R>(
    app: &Arc<App>,
    draining: &CancellationToken,
    judge: F,
) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone + use<F, R>
where
    F: Fn(Arc<App>, CancellationToken) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = bool> + Send,
{
    let (app, draining) = (Arc::clone(app), draining.clone());
    warp::method().then(move |method: Method| {
        let judged = judge(Arc::clone(&app), draining.clone());
        async move {
            let response = match (method == Method::GET || method == Method::HEAD, judged.await) {
                (false, _) => *method_not_allowed(&method),
                (true, true) => detail(StatusCode::OK, "ok"),
                (true, false) => detail(StatusCode::SERVICE_UNAVAILABLE, "not ready"),
            };
            allowing(response, ALLOW_GET)
        }
    })
}

/// Whether new work should be sent here.
async fn is_ready(app: Arc<App>, draining: CancellationToken) -> bool {
    !draining.is_cancelled() && app.lacks().await.is_empty()
}

/// Who calls, by the `Authorization` header; nobody without one of this scheme.
async fn bearer(app: &App, headers: &HeaderMap) -> Result<Option<Actor>, Refusal> {
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut words = header.split_whitespace();
    if words.next() != Some("Bearer") {
        return Ok(None);
    }
    let (Some(token), None) = (words.next(), words.next()) else {
        let text = "Authorization header must contain two space-delimited values";
        return Err(unauthorized(text, Some("bad_authorization_header")));
    };
    match sessions::authenticate(app, token).await {
        Ok(authenticated) => Ok(Some(authenticated.actor)),
        Err(error) if error.code != ErrorCode::InvalidCredentials => Err(refusal(&error)),
        Err(error) => Err(match error.message.as_ref() {
            gone @ sessions::USER_GONE => unauthorized(gone, Some("user_not_found")),
            disabled @ sessions::USER_DISABLED => unauthorized(disabled, Some("user_inactive")),
            why => bad_access_token(why),
        }),
    }
}

#[derive(Serialize)]
struct Registered {
    username: String,
    email: String,
    first_name: String,
    last_name: String,
}

async fn register(mut call: Call) -> Answer {
    let name = Rule { required: false, blank: true, max: NAME_MAX };
    let password = Rule { required: true, blank: false, max: usize::MAX };
    let fields = &mut call.fields;
    let username = fields.text("username", Rule { required: true, blank: false, max: NAME_MAX });
    let (first, second) = (fields.text("password", password), fields.text("password2", password));
    let email = fields.text("email", Rule { required: false, blank: true, max: EMAIL_MAX });
    let (first_name, last_name) = (fields.text("first_name", name), fields.text("last_name", name));
    let errors = &mut fields.errors;
    // All that is wrong is told at once, so what the operation would refuse one by one is asked here.
    if !errors.has("username")
        && let Err(error) = text::Username::new(&username)
    {
        errors.add("username", in_french(&error, &call.app));
    }
    if !errors.has("email")
        && let Err(error) = text::email("email", &email)
    {
        errors.add("email", in_french(&error, &call.app));
    }
    fields.check()?;
    if first != second {
        fields.errors.add("password", "Les mots de passe ne correspondent pas.");
        return Err(fields.errors.refusal());
    }
    let (email, first_name, last_name) = (email.as_str(), first_name.as_str(), last_name.as_str());
    let wanted = Register { username: &username, password: &first, email, first_name, last_name };
    let made = accounts::register(&call.app, wanted).await.map_err(|error| field_refusal(&error, &call.app))?;
    let accounts::Registered { username, email, first_name, last_name, .. } = made;
    Ok(json(StatusCode::CREATED, &Registered { username, email, first_name, last_name }))
}

/// The refusal of an operation, with a French text where it is about a field.
fn field_refusal(error: &Error, app: &App) -> Refusal {
    let fields = ["username", "password", "email", "first_name", "last_name"];
    let field = fields.into_iter().find(|field| error.field.as_deref() == Some(field));
    match (field, error.code) {
        (Some(field), ErrorCode::InvalidField | ErrorCode::TooLong) => {
            let mut errors = FieldErrors::default();
            errors.add(field, in_french(error, app));
            errors.refusal()
        }
        _ => refusal(error),
    }
}

fn in_french(error: &Error, app: &App) -> String {
    let text = match (error.field.as_deref(), error.code, error.message.as_ref()) {
        (Some("username"), _, accounts::NAME_TAKEN) => "Un utilisateur avec ce nom existe déjà.",
        (Some("username"), _, text::NAME_CHARACTERS) => {
            "Saisissez un nom d’utilisateur valide. Il ne peut contenir que des lettres, des nombres ou les caractères \
             «\u{a0}@\u{a0}», «\u{a0}.\u{a0}», «\u{a0}+\u{a0}», «\u{a0}-\u{a0}» et «\u{a0}_\u{a0}»."
        }
        (Some("username"), ErrorCode::InvalidField, _) => "Ce nom d’utilisateur est réservé.",
        (Some("email"), _, _) => "Saisissez une adresse e-mail valide.",
        (Some("password"), _, auth::TOO_COMMON) => "Ce mot de passe est trop courant.",
        (Some("password"), _, auth::TOO_SHORT) => {
            let min = app.config.password_min;
            return format!("Ce mot de passe est trop court. Il doit contenir au minimum {min}\u{a0}caractères.");
        }
        (Some("password"), ErrorCode::TooLong, _) => {
            let max = app.config.password_max;
            return format!("Assurez-vous que ce champ comporte au plus {max}\u{a0}octets.");
        }
        (Some("first_name" | "last_name"), ErrorCode::InvalidField, _) => {
            "Saisissez un texte sans caractères de contrôle."
        }
        (_, _, other) => other,
    };
    text.to_owned()
}

#[derive(Serialize)]
struct Pair {
    refresh: String,
    access: String,
}

async fn token(mut call: Call) -> Answer {
    let rule = Rule { required: true, blank: false, max: usize::MAX };
    let (username, password) = (call.fields.text("username", rule), call.fields.text("password", rule));
    call.fields.check()?;
    let Client { address, label, .. } = &call.client;
    let input = Login { username: &username, password: &password, label, address: *address };
    match sessions::login(&call.app, input).await {
        Ok(made) => Ok(json(StatusCode::OK, &Pair { refresh: made.refresh, access: made.access })),
        Err(error) if error.code == ErrorCode::InvalidCredentials => Err(unauthorized(&error.message, None)),
        Err(error) => Err(field_refusal(&error, &call.app)),
    }
}

#[derive(Serialize)]
struct Refreshed {
    access: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh: Option<String>,
}

async fn refresh(mut call: Call) -> Answer {
    let token = call.fields.text("refresh", Rule { required: true, blank: false, max: usize::MAX });
    let rotate = call.fields.flag("rotate");
    call.fields.check()?;
    match sessions::refresh(&call.app, &token, rotate, &call.client.fingerprint, None).await {
        Ok(renewed) => Ok(json(StatusCode::OK, &Refreshed { access: renewed.access, refresh: renewed.refresh })),
        Err(error) if matches!(error.message.as_ref(), sessions::USER_GONE | sessions::USER_DISABLED) => {
            Err(unauthorized("No active account found for the given token.", None))
        }
        Err(error) => Err(refusal(&error)),
    }
}

async fn logout(mut call: Call) -> Answer {
    let Some(actor) = call.actor else {
        return Err(unauthorized("Informations d'authentification non fournies.", None));
    };
    let refresh = call.fields.text("refresh", Rule { required: false, blank: true, max: usize::MAX });
    call.fields.check()?;
    let refresh = (!refresh.is_empty()).then_some(refresh.as_str());
    match sessions::logout(&call.app, actor, refresh).await {
        Ok(_) => Ok(detail(StatusCode::OK, "Déconnexion réussie")),
        Err(error) if error.code == ErrorCode::InvalidCredentials => {
            Err(Box::new(detail(StatusCode::BAD_REQUEST, &error.message)))
        }
        Err(error) => Err(refusal(&error)),
    }
}
