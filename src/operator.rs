//! The operator's commands. They work on the database beside a running server; the server notices within a second
//! that another process wrote, and closes the sockets whose sessions ended (`feed/sessions.rs`, `feed/sweep.rs`).

use crate::auth::Auth;
use crate::catalogue::Language;
use crate::clock::machine;
use crate::config::{Config, Secret};
use crate::error::Error;
use crate::import;
use crate::media::Media;
use crate::model::{Micros, Text, UserId};
use crate::store::django::Source;
use crate::store::sweep::{self, Change};
use crate::store::{Conn, Purpose, Store, Use, accounts, copy, ending, sessions, sqlite, streams, supervision};
use std::fmt::Write;
use std::path::Path;

/// For how long tokens of the service before are taken, unless somebody says otherwise: as long as its longest lived.
const OLD_TOKENS: Micros = 7 * 86_400_000_000;
/// How long one statement of a copy may take, in milliseconds.
const COPY_STATEMENT_MS: u64 = 3_600_000;

type Said = std::result::Result<String, String>;

/// Opens the database, does something with it and closes it again, so that a SQLite file is left as it was found.
async fn with<T>(
    config: &Config,
    how: Use,
    work: impl AsyncFnOnce(&Store) -> std::result::Result<T, String>,
) -> std::result::Result<T, String> {
    let store = Store::open(config, how).await?;
    let done = work(&store).await;
    store.close().await;
    done
}

fn said(error: Error) -> String {
    error.message.told_in(Language::English)
}

/// Brings the database up to date.
pub async fn migrate(config: &Config) -> Said {
    with(config, Use::Serving, async |_| Ok("The database is up to date.".to_owned())).await
}

/// Writes a consistent copy of the database into a new file.
pub async fn backup(config: &Config, file: &Path) -> Said {
    if file.exists() {
        return Err(format!("{} exists: a backup goes into a new file", file.display()));
    }
    with(config, Use::Beside, async |store| store.backup(file).await).await?;
    Ok(format!("Copied to {}. After putting it back, run duet restored once.", file.display()))
}

/// Begins a new epoch, so that clients do not take a restored history for the one they know.
pub async fn restored(config: &Config) -> Said {
    let epoch = with(config, Use::Alone, async |store| {
        let mut tx = store.begin(Purpose::Server).await.map_err(said)?;
        let epoch = streams::renew_epoch(&mut tx).await.map_err(said)?;
        tx.commit(|| ()).await.map_err(said)?;
        Ok(epoch)
    });
    let epoch = epoch.await?;
    Ok(format!("A new epoch has begun: {epoch}. Clients will load again."))
}

/// Copies the whole database from a SQLite file to an empty Postgres database.
pub async fn copy_store(config: &Config, from: &str, to: &str, progress: impl Fn(String)) -> Said {
    let at = |url: &str| Config { database_url: url.to_owned().into(), ..config.clone() };
    let (from, mut to) = (at(from), at(to));
    if !sqlite::path(&from).exists() {
        return Err(format!("--from: there is no database at {}", sqlite::path(&from).display()));
    }
    // A count of all messages, or the statistics of all tables, may take long, and nobody waits for it.
    to.postgres_statement_ms = COPY_STATEMENT_MS;
    with(&from, Use::Alone, async |source| {
        with(&to, Use::Alone, async |target| copy::copy(source, target, progress).await).await
    })
    .await?;
    Ok(format!("Copied to {}. Start the servers with this --database-url and the same --secret.", to.database_url))
}

/// What is imported, and how.
#[derive(Debug)]
pub struct ImportDjango<'a> {
    /// The URL of the database of the Django service.
    pub from: &'a str,
    /// A file with its `SECRET_KEY`.
    pub secret_key_file: &'a Path,
    /// The last day on which its tokens are taken, `YYYY-MM-DD`.
    pub old_tokens_until: Option<&'a str>,
    /// Its media directory, if the files are to come.
    pub media: Option<&'a Path>,
    /// Says what would come, and writes nothing.
    pub dry_run: bool,
}

/// Brings everything from a database of the Django service into this one, which must be empty.
pub async fn import_django(config: &Config, what: &ImportDjango<'_>, progress: impl Fn(String)) -> Said {
    let key = secret_key(what.secret_key_file)?;
    let until = what.old_tokens_until.map_or(Ok(machine() + OLD_TOKENS), end_of_day)?;
    let old_key = (until > machine()).then_some((key, until));
    let kept = old_key.as_ref().map(|(_, until)| *until);
    let plan = import::Plan { old_key, text_max: config.text_max };
    let mut source = Source::open(what.from).await?;
    if what.dry_run {
        let summary = import::run(&mut source, &Store::scratch().await?, &plan, progress).await?;
        return Ok(format!("A dry run: nothing was written. What an import would say:\n\n{summary}{}", tokens(kept)));
    }
    let patient = Config { postgres_statement_ms: COPY_STATEMENT_MS, ..config.clone() };
    with(&patient, Use::Alone, async |target| {
        let mut summary = import::run(&mut source, target, &plan, &progress).await?;
        if let Some(directory) = what.media {
            // It signs nothing here.
            let media = Media::open(config, &[])?;
            summary.push_str(&import::files::run(target, &media, directory, &progress).await?);
        }
        let kept = target.old_key(machine()).await?.map(|(_, until)| until);
        Ok(format!("{summary}{}", tokens(kept)))
    })
    .await
}

fn tokens(kept: Option<Micros>) -> String {
    match kept {
        Some(until) => format!("Tokens of the Django service are taken until {}.", date(until)),
        None => "Tokens of the Django service are not taken.".to_owned(),
    }
}

/// The key as Django has it: the text of the file, less the white space around.
fn secret_key(file: &Path) -> std::result::Result<Secret, String> {
    let text = std::fs::read_to_string(file)
        .map_err(|cause| format!("--secret-key-file: cannot read {}: {cause}", file.display()))?;
    match text.trim() {
        "" => Err(format!("--secret-key-file: {} is empty", file.display())),
        key if key.contains('\n') => {
            Err(format!("--secret-key-file: {} has several lines: only the value of SECRET_KEY", file.display()))
        }
        key => Ok(key.to_owned().into()),
    }
}

/// The last moment of a day, in UTC.
fn end_of_day(text: &str) -> std::result::Result<Micros, String> {
    let wrong = |_| format!("--old-tokens-until: {text} is no day like 2026-12-31");
    let next: jiff::civil::Date = text.parse::<jiff::civil::Date>().and_then(|day| day.tomorrow()).map_err(wrong)?;
    let midnight = jiff::tz::Offset::UTC.to_timestamp(next.at(0, 0, 0, 0)).map_err(wrong)?;
    Ok(midnight.as_microsecond())
}

/// All accounts, a line each.
pub async fn list(config: &Config) -> Said {
    let accounts = with(config, Use::Beside, async |store| {
        supervision::accounts(&mut store.read(Purpose::Server).await.map_err(said)?).await.map_err(said)
    });
    let accounts = accounts.await?;
    let mut text = format!("{:>8}  {:<30} {:>8}  state\n", "id", "user name", "sessions");
    for account in &accounts {
        let _ = writeln!(
            text,
            "{:>8}  {:<30} {:>8}  {}",
            account.id.0,
            account.username,
            account.sessions,
            account.state()
        );
    }
    let _ = write!(text, "{} accounts", accounts.len());
    Ok(text)
}

/// One account.
pub async fn show(config: &Config, name: &str) -> Said {
    let account = with(config, Use::Beside, async |store| find(store, name).await).await?;
    let mut text = format!("#{} {}\n", account.id, account.username);
    let _ = writeln!(text, "state: {}", account.state());
    let _ = writeln!(text, "created: {}", date(account.created_at));
    let _ = writeln!(text, "last active: {}", date(account.last_active_at));
    let _ = write!(text, "open sessions: {}", account.sessions);
    Ok(text)
}

fn date(at: Micros) -> String {
    jiff::Timestamp::from_microsecond(at).map_or_else(|_| "unknown".to_owned(), |at| at.to_string())
}

async fn find(store: &Store, name: &str) -> std::result::Result<supervision::Account, String> {
    let mut conn = store.read(Purpose::Server).await.map_err(said)?;
    let all = supervision::accounts(&mut conn).await.map_err(said)?;
    let key = crate::text::username_key(name);
    let id = name.strip_prefix('#').and_then(|id| id.parse().ok()).map(UserId);
    let (key, exact): (Option<String>, Option<String>) = (Some(key.into()), Some(accounts::exact_key(name).into()));
    let found = match id {
        Some(id) => all.iter().find(|account| account.id == id),
        // As at a login: the one that is written so comes before the one that is only compared alike.
        None => all.iter().find(|one| one.username_key == exact).or(all.iter().find(|one| one.username_key == key)),
    };
    found.cloned().ok_or_else(|| format!("no account {name}; see duet user list"))
}

/// Closes an account until it is enabled.
pub async fn disable(config: &Config, name: &str) -> Said {
    with(config, Use::Beside, async |store| {
        let account = find(store, name).await?;
        let mut tx = store.begin(Purpose::Server).await.map_err(said)?;
        supervision::set_disabled(&mut tx, account.id, Some(machine())).await.map_err(said)?;
        end_sessions(&mut tx, account.id).await?;
        tx.commit(|| ()).await.map_err(said)?;
        Ok(format!("{} is disabled; its sessions are ended.", account.username))
    })
    .await
}

/// Ends all sessions of an account, and notes it for servers that look there.
async fn end_sessions(tx: &mut Conn, user: UserId) -> std::result::Result<(), String> {
    sessions::end_all(tx, user, None, machine()).await.map_err(said)?;
    sweep::note(tx, &[Change::Sessions(user)]).await.map_err(said)?;
    Ok(())
}

/// Opens a disabled account again.
pub async fn enable(config: &Config, name: &str) -> Said {
    with(config, Use::Beside, async |store| {
        let account = find(store, name).await?;
        let mut tx = store.begin(Purpose::Server).await.map_err(said)?;
        supervision::set_disabled(&mut tx, account.id, None).await.map_err(said)?;
        tx.commit(|| ()).await.map_err(said)?;
        Ok(format!("{} is enabled.", account.username))
    })
    .await
}

/// Ends all sessions of an account.
pub async fn revoke(config: &Config, name: &str) -> Said {
    with(config, Use::Beside, async |store| {
        let account = find(store, name).await?;
        let mut tx = store.begin(Purpose::Server).await.map_err(said)?;
        accounts::lock(&mut tx, &[account.id]).await.map_err(said)?;
        end_sessions(&mut tx, account.id).await?;
        tx.commit(|| ()).await.map_err(said)?;
        Ok(format!("All sessions of {} are ended.", account.username))
    })
    .await
}

/// Deletes an account. A server that runs, or the next that starts, erases what it left.
pub async fn delete(config: &Config, name: &str) -> Said {
    let store = Store::open(config, Use::Beside).await?;
    let account = find(&store, name).await?;
    let mut tx = store.begin(Purpose::Server).await.map_err(said)?;
    accounts::lock(&mut tx, &[account.id]).await.map_err(said)?;
    if accounts::credentials_of(&mut tx, account.id).await.map_err(said)?.is_none() {
        return Err(format!("#{} is deleted already", account.id));
    }
    ending::accept(&mut tx, account.id, machine()).await.map_err(said)?;
    sweep::note(&mut tx, &[Change::Sessions(account.id)]).await.map_err(said)?;
    tx.commit(|| ()).await.map_err(said)?;
    Ok(format!("{} is deleted; what the account left is erased by a running server.", account.username))
}

/// Gives an account another password and ends its sessions.
pub async fn set_password(config: &Config, name: &str, password: &str) -> Said {
    let auth = Auth::open(config)?;
    with(config, Use::Beside, async |store| {
        let account = find(store, name).await?;
        auth.judge(password, &account.username).await.map_err(said)?;
        let hash = Text::without_nul(auth.hash(password).await.map_err(said)?);
        let mut tx = store.begin(Purpose::Server).await.map_err(said)?;
        accounts::set_password_hash(&mut tx, account.id, &hash).await.map_err(said)?;
        end_sessions(&mut tx, account.id).await?;
        tx.commit(|| ()).await.map_err(said)?;
        Ok(format!("{} has a new password; its sessions are ended.", account.username))
    })
    .await
}
