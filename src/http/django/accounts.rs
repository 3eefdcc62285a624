//! Tokens, registering, logging out, changing the password: section 3.1 of the contract.

use schemars::JsonSchema;
use serde::Serialize;
use warp::http::StatusCode;

use super::Call;
use super::answers::{Answer, FieldErrors, Refusal, done, json};
use super::form::{Field, Form};
use crate::error::{Error, ErrorCode};
use crate::model::Text;
use crate::ops;
use crate::ops::accounts::Register;
use crate::ops::presence;
use crate::ops::sessions::{self, Login};
use crate::protocol::commands::PasswordChange;
use crate::protocol::replies::Renewed;
use crate::sentence;
use crate::text;

/// Longest name of a user, in characters.
pub(super) const NAME_MAX: usize = 150;
/// Longest e-mail address, in characters.
pub(super) const EMAIL_MAX: usize = 254;
/// The operation judges how long it may be.
const ANY: usize = usize::MAX;

pub(super) const TOKEN: &[Field] = &[Field::text("username", ANY).required(), Field::password("password").required()];
pub(super) const REFRESH: &[Field] = &[Field::text("refresh", ANY).required(), Field::boolean("rotate")];
pub(super) const REGISTER: &[Field] = &[
    Field::text("username", NAME_MAX).fitting(fits_username).required(),
    Field::password("password").required(),
    Field::password("password2").required(),
    Field::blank("email", EMAIL_MAX).fitting(fits_email),
    Field::blank("first_name", NAME_MAX),
    Field::blank("last_name", NAME_MAX),
];
pub(super) const LOGOUT: &[Field] = &[Field::blank("refresh", ANY).nullable()];
pub(super) const CHANGE_PASSWORD: &[Field] = &[
    Field::password("old_password").required(),
    Field::password("new_password").required(),
    Field::password("new_password2").required(),
];

/// What the operation would refuse one by one is asked here, so that all that is wrong is told at once.
pub(super) fn fits_username(name: &str) -> crate::error::Result<()> {
    text::Username::new(name).map(drop)
}

pub(super) fn fits_email(address: &str) -> crate::error::Result<()> {
    text::email("email", address).map(drop)
}

/// Whether a password may be had counts among what is wrong with the fields; what was not typed is wrong already.
async fn judge_password(
    call: &Call,
    form: &mut Form,
    field: &str,
    password: &str,
    username: &str,
) -> Result<(), Refusal> {
    if password.is_empty() {
        return Ok(());
    }
    match call.app.auth.judge(password, username).await {
        Err(error) if error.field.is_some() => form.errors.add(field, error.message),
        judged => judged?,
    }
    Ok(())
}

/// What is answered.
#[derive(Serialize, JsonSchema)]
pub(super) struct Pair {
    refresh: String,
    access: String,
}

pub(super) async fn token(call: Call) -> Answer {
    let mut form = call.form();
    form.check()?;
    let (username, password) = (form.text_or_empty("username"), form.text_or_empty("password"));
    let (label, address) = (&call.client.label, call.client.address);
    let input = Login { username: &username, password: &password, label, address };
    match sessions::login(&call.app, input).await {
        Ok(made) => Ok(json(StatusCode::OK, &Pair { refresh: made.refresh, access: made.access })),
        Err(error) if error.code == ErrorCode::InvalidCredentials => {
            Err(Refusal::Unauthorized { detail: error.message, code: None, token: None })
        }
        Err(error) => Err(error.into()),
    }
}

/// What is answered.
#[derive(Serialize, JsonSchema)]
pub(super) struct Refreshed {
    access: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh: Option<String>,
}

pub(super) async fn refresh(call: Call) -> Answer {
    let mut form = call.form();
    form.check()?;
    let (token, rotate) = (form.text_or_empty("refresh"), form.boolean("rotate").unwrap_or(false));
    match sessions::refresh(&call.app, &token, rotate, None).await {
        Ok(Renewed { access, refresh, .. }) => Ok(json(StatusCode::OK, &Refreshed { access, refresh })),
        Err(error) if matches!(error.message.name(), "user-gone" | "user-disabled") => {
            let detail = sentence!("no-account-for-token");
            Err(Refusal::Unauthorized { detail, code: None, token: None })
        }
        Err(error) => Err(error.into()),
    }
}

/// What is answered.
#[derive(Serialize, JsonSchema)]
pub(super) struct Registered {
    username: Text,
    email: Text,
    first_name: Text,
    last_name: Text,
}

pub(super) async fn register(call: Call) -> Answer {
    let mut form = call.form();
    let mut text = |name| form.text_or_empty(name);
    let (username, password, again) = (text("username"), text("password"), text("password2"));
    let (email, first_name, last_name) = (text("email"), text("first_name"), text("last_name"));
    if let Ok(name) = text::Username::new(&username)
        && let Err(error) = name.unreserved(&call.app.config.reserved_names.0)
    {
        form.errors.add("username", error.message);
    }
    judge_password(&call, &mut form, "password", &password, &username).await?;
    form.check()?;
    if password != again {
        return Err(FieldErrors::of("password", sentence!("passwords-differ")).into());
    }
    let (email, first_name, last_name) = (email.as_str(), first_name.as_str(), last_name.as_str());
    let wanted = Register { username: &username, password: &password, email, first_name, last_name };
    let ops::accounts::Registered { username, email, first_name, last_name, .. } =
        ops::accounts::register(&call.app, wanted).await?;
    Ok(json(StatusCode::CREATED, &Registered { username, email, first_name, last_name }))
}

pub(super) async fn logout(call: Call) -> Answer {
    let actor = call.actor()?;
    let mut form = call.form();
    form.check()?;
    // They are gone even if the token that they show is not theirs to end.
    presence::not_here(&call.app, actor.user).await?;
    let refresh = form.text("refresh").filter(|token| !token.is_empty());
    match sessions::logout(&call.app, actor, refresh.as_deref()).await {
        Ok(_) => Ok(done(call.language, &sentence!("logged-out"))),
        Err(error) if error.code == ErrorCode::InvalidCredentials => {
            Err(Refusal::Detail(StatusCode::BAD_REQUEST, error.message))
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn change_password(call: Call) -> Answer {
    let actor = call.actor()?;
    let mut form = call.form();
    let mut text = |name| form.text_or_empty(name);
    let (old, new, again) = (text("old_password"), text("new_password"), text("new_password2"));
    judge_password(&call, &mut form, "new_password", &new, "").await?;
    form.check()?;
    if new != again {
        return Err(FieldErrors::of("new_password", sentence!("new-passwords-differ")).into());
    }
    match ops::accounts::change_password(&call.app, actor, PasswordChange { old, new }).await {
        Ok(_) => Ok(done(call.language, &sentence!("password-changed"))),
        Err(error) if error.code == ErrorCode::WrongPassword => {
            Err(FieldErrors::of("old_password", sentence!("old-password-wrong")).into())
        }
        Err(error) if error.field.as_deref() == Some("new") => {
            Err(Error { field: Some("new_password".to_owned()), ..error }.into())
        }
        Err(error) => Err(error.into()),
    }
}
