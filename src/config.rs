//! Every setting and every limit: name, unit, default and meaning in one list. Flag, environment variable and file key
//! are the same name in three spellings. Nothing else reads the environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::catalogue::Language;

mod addresses;
mod values;

pub use addresses::{Listen, Network, Origin, PublicUrl, ServiceUrl};
pub use values::{ContactPolicy, List, SECRET_MIN, Secret, Text};

use values::Value;

/// A row of the settings table.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// As in the file; the flag has `-` for `_`, the variable is upper case after `DUET_`.
    pub name: &'static str,
    /// As text.
    pub default: &'static str,
    /// What the number counts, or what kind of text it is.
    pub unit: &'static str,
    /// What it does.
    pub help: &'static str,
    set: fn(&mut Config, &str) -> Result<(), String>,
    get: fn(&Config) -> String,
}

macro_rules! settings {
    ($($(#[doc = $help:literal])* $name:ident: $type:ty = $default:literal, $unit:literal;)*) => {
        /// The effective settings.
        #[derive(Debug, Clone)]
        pub struct Config { $($(#[doc = $help])* pub $name: $type,)* }

        /// All settings, in the order of the document.
        pub const SETTINGS: &[Setting] = &[$(Setting {
            name: stringify!($name),
            default: $default,
            unit: $unit,
            help: concat!($($help),*),
            set: |config, text| Ok(config.$name = <$type as Value>::read(text)?),
            get: |config| config.$name.show(),
        }),*];

        impl Default for Config {
            fn default() -> Config {
                // The defaults are checked by a test, so none of them fails to be read here.
                Config { $($name: <$type as Value>::read($default).unwrap_or_default_of(stringify!($name)),)* }
            }
        }
    };
}

settings! {
    /// Where to listen; without a host: on all addresses of this machine.
    listen: Listen = "127.0.0.1:8080", "address:port";
    /// Where the database file and the generated secret are kept.
    data_dir: PathBuf = "./duet-data", "directory";
    /// The database; empty: SQLite in the data directory.
    database_url: ServiceUrl = "", "URL";
    /// The Redis that connects several nodes; empty: one node.
    redis_url: ServiceUrl = "", "URL";
    /// How clients reach this server; absolute URLs begin with it. Empty: http:// and where it listens.
    public_url: Option<PublicUrl> = "", "URL";
    /// Proxies whose X-Forwarded-For is believed.
    trusted_proxies: List<Network> = "", "networks or addresses, comma-separated";
    /// Web origins whose pages may open a socket or call the API; empty: none but clients without an Origin.
    allowed_origins: List<Origin> = "", "origins, comma-separated";
    /// User names that nobody can take, nor one that looks like them; who has one already keeps it.
    reserved_names: List<String> = "abuse,admin,administrator,anonymous,deleted,duet,everyone,help,moderator,nobody,null,official,operator,postmaster,root,security,server,staff,support,system,undefined,webmaster", "names, comma-separated";
    /// Where metrics and health details are served; empty: nowhere.
    operator_listen: Option<Listen> = "", "address:port";
    /// What is logged: error, warn, info, debug or trace, also by module.
    log: Text = "info", "filter";
    /// What the Django endpoints say to a client whose Accept-Language names neither: fr or en.
    language: Language = "fr", "fr or en";
    /// Key that signs tokens, at least 32 bytes; empty: generated in the data directory.
    secret: Secret = "", "text";
    /// A former key that still verifies tokens.
    previous_secret: Secret = "", "text";
    /// Who may open a direct conversation: open (anyone not blocked) or match (a match is needed).
    contact_policy: ContactPolicy = "open", "open or match";

    /// How long an access token lives.
    access_token_s: i64 = "86400", "seconds";
    /// How long a refresh token lives, and so a session that is not used.
    refresh_token_s: i64 = "604800", "seconds";
    /// How long a session lives at most, however often it is renewed.
    session_max_s: i64 = "31536000", "seconds";
    /// How long somebody without a socket counts as here after they said so over REST.
    rest_online_s: i64 = "300", "seconds";
    /// How long before its end an access token is announced as expiring.
    expiry_notice_s: i64 = "60", "seconds";
    /// How long after a rotation the replaced refresh token gets its successor again, while nobody has used that.
    rotation_retry_s: i64 = "10", "seconds";
    /// Memory of one password hash (argon2id).
    argon2_memory_kib: u32 = "19456", "KiB";
    /// Passes of one password hash (argon2id).
    argon2_passes: u32 = "2", "passes";
    /// Password hashes at work at once.
    hash_workers: usize = "1", "threads";
    /// Password hashes that may wait; more are refused as busy.
    hash_queue: usize = "32", "hashes";
    /// Shortest password.
    password_min: usize = "8", "characters";
    /// Longest password; longer ones are refused before hashing.
    password_max: usize = "256", "bytes";
    /// Failed logins of one account, per device class, before waiting grows.
    login_account_burst: u32 = "10", "failures";
    /// Failed logins of one address prefix before waiting grows.
    login_prefix_burst: u32 = "50", "failures";
    /// How long it takes to forget one failed login.
    login_forget_s: u32 = "30", "seconds per failure";

    /// Commands of one user in the long run; 0: no limit.
    commands_per_s: u32 = "50", "commands per second";
    /// Commands of one user at once.
    commands_burst: u32 = "200", "commands";
    /// Refusals for speed, less the frames let through meanwhile, after which a socket is closed; 0: never.
    flood_refusals: u32 = "200", "refusals";
    /// Frames in a row that cannot be understood, after which a socket is closed; 0: never.
    bad_frames: u32 = "10", "frames";
    /// New direct conversations of one user; 0: no limit.
    direct_per_hour: u32 = "20", "conversations per hour";
    /// New likes of one user; 0: no limit.
    likes_per_hour: u32 = "200", "likes per hour";
    /// Reports by one user; 0: no limit.
    reports_per_hour: u32 = "20", "reports per hour";
    /// Sockets of one user; the oldest gives way. 0: no limit.
    sockets_per_user: usize = "20", "sockets";
    /// Sockets of one address (IPv6: /64); 0: no limit.
    sockets_per_address: usize = "1000", "sockets";
    /// Sockets and connections of one address that have not said who they are; 0: no limit.
    unauthenticated_per_address: usize = "100", "connections";
    /// Connections in all; 0: no limit.
    connections: usize = "15000", "connections";
    /// Largest frame from a client.
    frame_max: usize = "32768", "bytes";
    /// Largest HTTP body.
    body_max: usize = "65536", "bytes";
    /// Events waiting for one socket.
    outbox_frames: usize = "256", "frames";
    /// Events waiting for one socket.
    outbox_bytes: usize = "262144", "bytes";
    /// Commands of one socket at work at once; more wait in the socket's buffer.
    commands_in_flight: usize = "64", "commands";
    /// Sends waiting for the next commit; more are refused as busy.
    write_queue: usize = "4096", "messages";
    /// Sends in one transaction.
    write_batch: usize = "512", "messages";

    /// Lanes of Postgres in which sends are committed; a conversation is always in the same one.
    write_lanes: usize = "2", "lanes";
    /// Connections to Postgres that write for the commands of users, for each server.
    postgres_writers: u32 = "8", "connections";
    /// Connections to Postgres that read for the commands of users, for each server.
    postgres_readers: u32 = "8", "connections";
    /// Connections to the database that the commands of one user hold at once, to read and to write each; more of that user's commands wait.
    user_connections: usize = "2", "connections";
    /// Start on a Postgres that may lose what it acknowledged: fsync, full_page_writes or synchronous_commit off.
    allow_unsafe_durability: bool = "false", "true or false";

    /// Longest message.
    text_max: usize = "4096", "characters";
    /// Longest title, name, place, reason.
    name_max: usize = "150", "characters";
    /// Longest about text and report text.
    bio_max: usize = "2000", "characters";
    /// Longest client_key.
    client_key_max: usize = "64", "bytes";
    /// Longest emoji of a reaction.
    emoji_max: usize = "64", "bytes";
    /// Different emojis under one message.
    emojis_per_message: usize = "20", "emojis";
    /// Interests of one user.
    interests_max: usize = "100", "interests";
    /// Members of a group.
    members_max: usize = "1000", "members";
    /// Members up to which a conversation tells everybody how far each has received and read; larger ones tell each member
    /// of themselves.
    watermark_members_max: usize = "50", "members";
    /// Members shown with a conversation in a list.
    members_listed: usize = "10", "members";
    /// Users or messages named in one command.
    items_max: usize = "100", "items";
    /// Cursors in one resume.
    cursors_max: usize = "500", "cursors";
    /// Messages or entries in one page.
    page_max: usize = "100", "items";
    /// Bytes of one page, but for its first item.
    page_bytes: usize = "262144", "bytes";
    /// Where unread counts stop.
    unread_cap: i64 = "100", "messages";
    /// Words in one search.
    search_words: usize = "8", "words";
    /// Messages of the reader's conversations that one search looks at; its answer says where the next one goes on.
    search_scanned: usize = "10000", "messages";
    /// Users one user may have blocked.
    blocks_max: usize = "10000", "users";
    /// Users that one look for candidates reads, those near and those whose place is not known each.
    candidates_scanned: usize = "1000", "users";
    /// Youngest age to see others and be seen.
    minimum_age: i64 = "18", "years";
    /// Whether users without a birth date see no candidates and are none; false where ages are checked elsewhere.
    birth_date_required: bool = "true", "true or false";
    /// Whether lists of the older API are cut into pages by ?page, ?page_size, ?limit and ?offset for clients that do not ask for version 2.
    older_api_pages: bool = "false", "true or false";

    /// Where the bytes of pictures and files are kept: file:///directory or s3://bucket/folder; empty: media in the data directory.
    media_url: ServiceUrl = "", "URL";
    /// Largest picture or file.
    upload_max: u64 = "26214400", "bytes";
    /// Files of one user; 0: no limit.
    files_per_user: i64 = "1000", "files";
    /// Bytes of all files of one user, in all sizes that are kept; 0: no limit.
    file_bytes_per_user: i64 = "1073741824", "bytes";
    /// Files of one user that are coming at once; 0: no limit.
    uploads_per_user: i64 = "8", "uploads";
    /// Files that are coming at once. Where all places are taken, who holds most of them or comes slowly gives way.
    uploads: usize = "64", "uploads";
    /// How much of the time uploads may write to the disk, which the database may need; 100: always.
    upload_disk_share: u32 = "10", "percent";
    /// How much of the time a node may spend on work in the background, such as erasing deleted accounts.
    jobs_share: u32 = "20", "percent";
    /// How long an upload may bring nothing, or less than its pace.
    upload_idle_ms: u64 = "10000", "milliseconds";
    /// Slowest pace of an upload; 0: any.
    upload_bytes_per_s: u32 = "1024", "bytes per second";
    /// Until when an upload must be there whole.
    upload_ms: u64 = "600000", "milliseconds";
    /// How long the URL of a file is good.
    link_s: i64 = "3600", "seconds";
    /// Pictures of one profile.
    pictures_max: usize = "6", "pictures";
    /// How long a file is kept that nothing refers to.
    media_unused_s: i64 = "86400", "seconds";
    /// How often a node looks for files that are to go.
    media_collect_ms: u64 = "60000", "milliseconds";
    /// How old bytes must be that no file of the database has, before they go; as often a node looks for them.
    media_orphan_s: i64 = "86400", "seconds";
    /// Longest side of a picture.
    image_side_max: u32 = "12000", "pixels";
    /// Pixels of one picture; the pictures that are decoded at once have memory for four times as many bytes.
    image_pixels_max: u64 = "40000000", "pixels";
    /// Frames of an animation.
    image_frames_max: u32 = "300", "frames";
    /// Pixels of all frames of an animation together.
    image_animation_max: u64 = "160000000", "pixels";
    /// Uploads that are looked at and decoded at once.
    image_decoders: usize = "2", "uploads";

    /// Until when a connection must have sent its request head, from its first byte on.
    header_ms: u64 = "5000", "milliseconds";
    /// How long a connection may lie idle between two requests; longer than a proxy before it keeps one.
    keep_alive_ms: u64 = "75000", "milliseconds";
    /// Until when a socket must have said who it is.
    auth_ms: u64 = "10000", "milliseconds";
    /// Between pings to a silent socket.
    ping_ms: u64 = "20000", "milliseconds";
    /// Without a sign of life, after which a socket is closed.
    silent_ms: u64 = "44000", "milliseconds";
    /// How long one write may take before the reader counts as too slow.
    write_ms: u64 = "10000", "milliseconds";
    /// How long a closing socket may take.
    close_ms: u64 = "2000", "milliseconds";
    /// When a sign of typing is taken as over.
    typing_ms: u64 = "6000", "milliseconds";
    /// How long a user whose last socket closed is still told as present.
    presence_linger_ms: u64 = "2000", "milliseconds";
    /// Between two batches of what was received and read, which are written and told together.
    watermark_ms: u64 = "50", "milliseconds";
    /// How long Postgres may take for a query.
    query_ms: u64 = "2000", "milliseconds";
    /// Connections to Redis, besides the one that hears and the one that tells.
    redis_connections: usize = "4", "connections";
    /// How long Redis may take to answer; no message waits for it.
    redis_wait_ms: u64 = "500", "milliseconds";
    /// Commits that may wait to be told to other nodes; what does not fit reaches them by their sweep.
    bus_queue: usize = "1024", "commits";
    /// Users that are looked up one by one to find the nodes to be told; more concern all nodes.
    lookup_max: usize = "32", "users";
    /// How often a node tells itself something, to know that it hears.
    tick_ms: u64 = "500", "milliseconds";
    /// Without hearing itself for so long, a node begins its subscription again.
    deaf_ms: u64 = "1500", "milliseconds";
    /// How long the users of a node that died count as connected.
    node_lease_ms: u64 = "6000", "milliseconds";
    /// How long an event waits for one before it that another node is telling.
    early_ms: u64 = "60", "milliseconds";
    /// Events of one stream that wait so; with more, its sockets read from the database.
    early_events: usize = "32", "events";
    /// How often a node looks in the database for what it was not told.
    sweep_ms: u64 = "750", "milliseconds";
    /// How long what was told may be under way before a sweep takes it as lost; none is waited while a node is deaf.
    sweep_grace_ms: u64 = "500", "milliseconds";
    /// How far back a sweep looks again after Postgres was started again: longer than a transaction may last.
    sweep_overlap_ms: u64 = "10000", "milliseconds";
    /// How long changes are kept for the sweeps of the nodes; a node that was away for longer sends its sockets to resume.
    changes_kept_ms: u64 = "600000", "milliseconds";
    /// How long a node without its database keeps its sockets, before it sends them to other nodes.
    database_lost_ms: u64 = "15000", "milliseconds";
    /// How long to wait for a connection to Postgres, or for a lock.
    postgres_wait_ms: u64 = "2000", "milliseconds";
    /// How long to wait for the answer of Postgres to one statement.
    postgres_statement_ms: u64 = "4000", "milliseconds";
    /// Over what time a draining server sends its sockets away.
    drain_spread_ms: u64 = "5000", "milliseconds";
    /// How long a draining server waits before it exits.
    drain_ms: u64 = "12000", "milliseconds";
}

trait ReadDefault<T> {
    fn unwrap_or_default_of(self, name: &str) -> T;
}

impl<T> ReadDefault<T> for Result<T, String> {
    #[expect(clippy::panic, reason = "a default that cannot be read is a mistake in the list above; a test reads all")]
    fn unwrap_or_default_of(self, name: &str) -> T {
        self.unwrap_or_else(|cause| panic!("default of {name}: {cause}"))
    }
}

impl Config {
    /// Settles each setting from the first source that has it: flags, environment, file, default.
    ///
    /// # Errors
    /// A sentence that names the source, the setting and what is wrong with it.
    #[expect(clippy::disallowed_methods, reason = "here the environment is read")]
    pub fn load(flags: &BTreeMap<String, String>, file: Option<&Path>) -> Result<Config, String> {
        let mut config = Config::default();
        let environment = |name: &str| std::env::var(variable(name)).ok();
        let named = environment("config").filter(|path| !path.is_empty()).map(PathBuf::from);
        let file = match file.or(named.as_deref()) {
            Some(path) => read_file(path)?,
            None => BTreeMap::new(),
        };
        if let Some(unknown) = file.keys().find(|key| !SETTINGS.iter().any(|setting| setting.name == *key)) {
            return Err(format!("the configuration file has `{unknown}`, which is no setting; see duet --help"));
        }
        for setting in SETTINGS {
            let name = setting.name;
            let (source, text) = if let Some(text) = flags.get(name) {
                (format!("--{}", name.replace('_', "-")), text.clone())
            } else if let Some(text) = environment(name) {
                (variable(name), text)
            } else if let Some(text) = file.get(name) {
                (format!("`{name}` in the configuration file"), text.clone())
            } else {
                continue;
            };
            (setting.set)(&mut config, &text).map_err(|cause| format!("{source}: {cause} ({})", setting.unit))?;
        }
        Ok(config)
    }

    /// Name and value of every setting; secrets show only whether they are set.
    pub fn effective(&self) -> impl Iterator<Item = (&'static str, String)> {
        SETTINGS.iter().map(|setting| match setting.name {
            "public_url" => (setting.name, self.base_url()),
            name => (name, (setting.get)(self)),
        })
    }

    /// What absolute URLs begin with: no slash stands at its end.
    pub fn base_url(&self) -> String {
        self.public_url.as_ref().map_or_else(|| self.listen.url(), PublicUrl::to_string)
    }

    /// The limits that a client should know, by name.
    pub fn told_limits(&self) -> BTreeMap<&'static str, i64> {
        let count = |limit: usize| i64::try_from(limit).unwrap_or(i64::MAX);
        BTreeMap::from([
            ("frame_max", count(self.frame_max)),
            ("text_max", count(self.text_max)),
            ("name_max", count(self.name_max)),
            ("bio_max", count(self.bio_max)),
            ("interests_max", count(self.interests_max)),
            ("emoji_max", count(self.emoji_max)),
            ("emojis_per_message", count(self.emojis_per_message)),
            ("search_words", count(self.search_words)),
            ("members_listed", count(self.members_listed)),
            ("unread_cap", self.unread_cap),
            ("blocks_max", count(self.blocks_max)),
            ("client_key_max", count(self.client_key_max)),
            ("page_max", count(self.page_max)),
            ("cursors_max", count(self.cursors_max)),
            ("items_max", count(self.items_max)),
            ("members_max", count(self.members_max)),
            ("pictures_max", count(self.pictures_max)),
            ("upload_max", i64::try_from(self.upload_max).unwrap_or(i64::MAX)),
            ("commands_per_s", i64::from(self.commands_per_s)),
            ("commands_burst", i64::from(self.commands_burst)),
            ("ping_ms", i64::try_from(self.ping_ms).unwrap_or(i64::MAX)),
        ])
    }

    /// Sets one setting by its name.
    ///
    /// # Errors
    /// What is wrong with the name or the text.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), String> {
        let setting = SETTINGS.iter().find(|setting| setting.name == name).ok_or("no such setting")?;
        (setting.set)(self, text)
    }
}

/// The environment variable of a setting.
pub fn variable(name: &str) -> String {
    format!("DUET_{}", name.to_uppercase())
}

/// The fault that a test planted, by the variable `DUET_PLANTED_FAULT`.
#[cfg(feature = "planted-faults")]
#[expect(clippy::disallowed_methods, reason = "this is the file that reads the environment")]
pub fn planted_fault() -> Option<crate::planted::Fault> {
    crate::planted::Fault::named(&std::env::var("DUET_PLANTED_FAULT").ok()?)
}

/// Where tests ask a server to fail at a certain place, by the variable `DUET_FAILPOINTS`.
#[cfg(feature = "planted-faults")]
#[expect(clippy::disallowed_methods, reason = "this is the file that reads the environment")]
pub fn failpoints() -> Option<PathBuf> {
    std::env::var("DUET_FAILPOINTS").ok().map(PathBuf::from)
}

/// A limit given in milliseconds.
pub fn ms(limit: u64) -> Duration {
    Duration::from_millis(limit)
}

fn read_file(path: &Path) -> Result<BTreeMap<String, String>, String> {
    let text = std::fs::read_to_string(path).map_err(|cause| format!("{}: {cause}", path.display()))?;
    let table: toml::Table = toml::from_str(&text).map_err(|cause| format!("{}: {cause}", path.display()))?;
    let plain = |value: toml::Value| match value {
        toml::Value::String(text) => text,
        toml::Value::Array(items) => {
            let items: Vec<String> =
                items.iter().map(|item| item.as_str().map_or(item.to_string(), str::to_owned)).collect();
            items.join(",")
        }
        other => other.to_string(),
    };
    Ok(table.into_iter().map(|(key, value)| (key, plain(value))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_can_be_read_and_shown() {
        let config = Config::default();
        assert_eq!(config.effective().count(), SETTINGS.len());
    }

    #[test]
    fn secrets_do_not_show() {
        let mut config = Config::default();
        config.set("secret", "0123456789abcdef0123456789abcdef").expect("long enough");
        let shown: String = config.effective().map(|(_, value)| value).collect();
        assert!(!shown.contains("abcdef") && !format!("{config:?}").contains("abcdef"));
        assert!(config.set("secret", "short").is_err());
        for url in ["redis://:abcdef@h:1/0", "rediss://me:abc@def@h:1", "redis://me@h", "redis://h:1"] {
            config.set("redis_url", url).expect("a URL");
            let shown: String = config.effective().map(|(_, value)| value).collect();
            assert!(!shown.contains("abc") && !format!("{config:?}").contains("abc"), "{url}");
        }
    }
}
