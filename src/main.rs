//! The command line: `serve`, which is the default, and the operator's commands.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Arg, ArgMatches, Command};
use duet::config::{Config, SETTINGS, variable};
use duet::http::listener;
use duet::operator;
use duet::output::{Log, complain, print};
use rustix::fs::Mode;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Rights that no file or folder gives that duet makes: those of its group and of all others.
const NOT_FOR_OTHERS: Mode = Mode::RWXG.union(Mode::RWXO);

fn main() -> ExitCode {
    rustix::process::umask(NOT_FOR_OTHERS);
    let matches = command().get_matches();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => return fail(&format!("cannot start: {cause}")),
    };
    match runtime.block_on(run(&matches)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => fail(&reason),
    }
}

fn fail(reason: &str) -> ExitCode {
    complain(&format!("duet: {reason}"));
    ExitCode::FAILURE
}

/// The command line, made from the list of settings.
fn command() -> Command {
    let user = |name: &'static str, about: &'static str| {
        Command::new(name).about(about).arg(Arg::new("user").required(true).help("User name, or #id"))
    };
    let settings = SETTINGS.iter().map(|setting| {
        let help = format!(
            "{} [{}; default: {}; env: {}]",
            setting.help.trim(),
            setting.unit,
            or_none(setting.default),
            variable(setting.name)
        );
        Arg::new(setting.name).long(setting.name.replace('_', "-")).value_name("VALUE").help(help).global(true)
    });
    Command::new("duet")
        .about("A WebSocket-first chat and matching server. Without a command: serve.")
        .version(env!("CARGO_PKG_VERSION"))
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .global(true)
                .help("A TOML file with settings [env: DUET_CONFIG]"),
        )
        .args(settings)
        .subcommand(Command::new("serve").about("Serves; the default"))
        .subcommand(Command::new("migrate").about("Brings the database up to date, and does not serve"))
        .subcommand(Command::new("config").about("Shows the effective settings; secrets are hidden"))
        .subcommand(
            Command::new("user")
                .about("Looks at accounts and acts on them, also while the server runs")
                .subcommand_required(true)
                .subcommand(Command::new("list").about("All accounts"))
                .subcommand(user("show", "One account and its sessions"))
                .subcommand(user("disable", "Closes an account until it is enabled; its sockets close within a second"))
                .subcommand(user("enable", "Opens a disabled account again"))
                .subcommand(user("set-password", "Reads a new password from standard input; ends all sessions"))
                .subcommand(user("revoke", "Ends all sessions of an account"))
                .subcommand(user("delete", "Deletes an account for good; a running server erases what it left")),
        )
        .subcommand(
            Command::new("backup")
                .about("Writes a consistent copy of the database, also while the server runs")
                .arg(Arg::new("file").required(true).help("A new file")),
        )
        .subcommand(
            Command::new("copy-store")
                .about(
                    "Copies everything from a SQLite file to an empty Postgres database; no server may run on either",
                )
                .arg(Arg::new("from").long("from").required(true).value_name("URL").help("sqlite://file"))
                .arg(Arg::new("to").long("to").required(true).value_name("URL").help("postgres://...")),
        )
        .subcommand(import_django())
        .subcommand(Command::new("restored").about("To be run once after a backup was put back: clients load again"))
}

/// The command that moves a Django service here.
fn import_django() -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let from = option("from", "URL", "Its database: sqlite:///path or postgres://...; it is only read").required(true);
    let key = option("secret-key-file", "FILE", "A file with the value of its SECRET_KEY, and nothing else");
    let until = "The last day on which its tokens are taken, like 2026-12-31 (UTC) [default: 7 days from now]";
    Command::new("import-django")
        .about(
            "Brings users, likes, matches, blocks and conversations from the Django API into an empty database; no \
             server may run on it, and the Django service should be stopped. It may be killed and run again.",
        )
        .arg(from)
        .arg(key.required(true))
        .arg(option("media", "DIR", "Its media directory (MEDIA_ROOT): brings pictures and files along"))
        .arg(option("old-tokens-until", "DATE", until))
        .arg(
            Arg::new("dry-run")
                .long("dry-run")
                .action(clap::ArgAction::SetTrue)
                .help("Says what would come, and writes nothing"),
        )
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

async fn run(matches: &ArgMatches) -> Result<(), String> {
    // A global flag stands in the innermost command's matches, wherever it was typed.
    let mut innermost = matches;
    while let Some((_, inner)) = innermost.subcommand() {
        innermost = inner;
    }
    let config = settings(innermost)?;
    match matches.subcommand() {
        None | Some(("serve", _)) => serve(config).await,
        Some((name, args)) => say(&command_of_the_operator(&config, name, args).await?),
    }
}

/// Does what an operator asks for, and answers what is to be told of it.
async fn command_of_the_operator(config: &Config, name: &str, args: &ArgMatches) -> Result<String, String> {
    let progress = |line: String| complain(&line);
    match (name, args) {
        ("migrate", _) => operator::migrate(config).await,
        ("config", _) => {
            let lines = config.effective().map(|(name, value)| format!("{name} = {value:?}"));
            Ok(lines.collect::<Vec<_>>().join("\n"))
        }
        ("backup", args) => operator::backup(config, Path::new(text(args, "file"))).await,
        ("copy-store", args) => operator::copy_store(config, text(args, "from"), text(args, "to"), progress).await,
        ("import-django", args) => {
            let what = operator::ImportDjango {
                from: text(args, "from"),
                secret_key_file: Path::new(text(args, "secret-key-file")),
                old_tokens_until: args.get_one::<String>("old-tokens-until").map(String::as_str),
                media: args.get_one::<String>("media").map(Path::new),
                dry_run: args.get_flag("dry-run"),
            };
            operator::import_django(config, &what, progress).await
        }
        ("restored", _) => operator::restored(config).await,
        ("user", args) => match args.subcommand() {
            Some(("list", _)) => operator::list(config).await,
            Some(("show", args)) => operator::show(config, text(args, "user")).await,
            Some(("disable", args)) => operator::disable(config, text(args, "user")).await,
            Some(("enable", args)) => operator::enable(config, text(args, "user")).await,
            Some(("delete", args)) => operator::delete(config, text(args, "user")).await,
            Some(("revoke", args)) => operator::revoke(config, text(args, "user")).await,
            Some(("set-password", args)) => operator::set_password(config, text(args, "user"), &password()?).await,
            _ => Err("unknown command; see duet user --help".to_owned()),
        },
        (other, _) => Err(format!("unknown command {other}; see duet --help")),
    }
}

fn say(text: &str) -> Result<(), String> {
    print(&format!("{}\n", text.trim_end()))
}

fn text<'a>(args: &'a ArgMatches, name: &str) -> &'a str {
    args.get_one::<String>(name).map_or("", String::as_str)
}

/// A new password, from standard input so that it stands in no history and no process list.
fn password() -> Result<String, String> {
    if std::io::stdin().is_terminal() {
        complain("New password, then Enter:");
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(|cause| format!("cannot read the password: {cause}"))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn settings(matches: &ArgMatches) -> Result<Config, String> {
    let given = SETTINGS.iter().filter_map(|setting| {
        matches.get_one::<String>(setting.name).map(|value| (setting.name.to_owned(), value.clone()))
    });
    let flags: BTreeMap<String, String> = given.collect();
    Config::load(&flags, matches.get_one::<String>("config").map(Path::new))
}

async fn serve(mut config: Config) -> Result<(), String> {
    start_logging(&config)?;
    let listener = listener::open(&config.listen, "--listen")?;
    let address = listener.local_addr().map_err(|cause| cause.to_string())?;
    config.listen = config.listen.with_port(address.port());
    let (mut terminate, mut hangup) = (heard(SignalKind::terminate())?, hangup()?);
    let shutdown = async move {
        let hangup = async {
            match &mut hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
            _ = hangup => {}
        }
        tracing::info!("going away: no new connections, sockets are sent on");
    };
    let app = duet::app::App::open(config).await?;
    // Whoever started it may not be listening.
    let _ = say(&format!("duet listens on http://{address}\nTry it: {}", try_it(address)));
    let store = Arc::clone(&app.store);
    let served = duet::run(app, listener, shutdown).await;
    store.close().await;
    served
}

fn heard(kind: SignalKind) -> Result<Signal, String> {
    signal(kind).map_err(|cause| cause.to_string())
}

/// Hears that the terminal is gone, unless the process was started to ignore that (`nohup`).
fn hangup() -> Result<Option<Signal>, String> {
    // A mask of signals in hexadecimal digits; hangup is the first. Elsewhere than on Linux there is no such file.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    if ignored & 1 == 1 { Ok(None) } else { heard(SignalKind::hangup()).map(Some) }
}

/// A line to paste: the first account.
fn try_it(address: SocketAddr) -> String {
    let body = r#"{"username":"ann","password":"correct horse","password2":"correct horse"}"#;
    format!("curl -s http://{address}/api/v1/auth/register/ -H 'Content-Type: application/json' -d '{body}'")
}

/// People read lines; machines read JSON.
fn start_logging(config: &Config) -> Result<(), String> {
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log).map_err(|cause| format!("--log: {cause}"))?;
    let people = std::io::stderr().is_terminal();
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(Log::new(!people)).log_internal_errors(false);
    if people {
        log.with_target(false).init();
    } else {
        log.json().init();
    }
    Ok(())
}
