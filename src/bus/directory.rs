//! Which nodes hold a user's sockets, as Redis knows it. Everything here is a hint that can be lost at any moment and is
//! written anew by the nodes themselves.
//!
//! Keys, each after the name of the installation:
//!
//! | key | what |
//! | --- | --- |
//! | `nodes` | the incarnations that began and were not buried |
//! | `node:<incarnation>` | leased; while it is there, the incarnation's entries hold |
//! | `at:<incarnation>` | the users with sockets there |
//! | `user:<id>` | by incarnation, when the user's sockets there were opened |
//! | `bury:<incarnation>` | who tells the users of a dead incarnation gone |
//! | `rate:<what>:<id>` | a token bucket of a user |

use std::collections::HashMap;
use std::time::Duration;

use deadpool_redis::redis::{AsyncConnectionConfig, FromRedisValue, Pipeline, RedisError, Script, Value, pipe};
use deadpool_redis::{Manager, Pool, PoolError, Runtime};

use super::Places;
use crate::config::{Config, ms};
use crate::limits::Rate;
use crate::model::{Micros, UserId};

/// What went wrong with Redis, for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("{0}")]
    Redis(#[from] RedisError),
    #[error("no connection: {0}")]
    Pool(#[from] PoolError),
    #[error("{0}")]
    Other(&'static str),
}

pub(super) type Result<T> = std::result::Result<T, Trouble>;

/// How long a dead node's users are one other node's to tell, in milliseconds.
const BURIAL_MS: u64 = 10_000;
/// Commands in one pipeline.
const PIPELINE: usize = 1_000;
/// Users that one script places.
const PLACED_AT_ONCE: usize = 200;

/// A token bucket as [`crate::limits::Bucket`] keeps it: the instant from which on it is full. In microseconds.
const TAKE: &str = "\
    local time = redis.call('TIME') \
    local now = time[1] * 1000000 + time[2] \
    local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now) + ARGV[1] \
    local wait = full_at - now - ARGV[1] * ARGV[2] \
    if wait > 0 then return math.ceil(wait) end \
    redis.call('SET', KEYS[1], string.format('%d', full_at), 'PX', math.ceil((full_at - now) / 1000)) \
    return 0";

/// Writes where some users are, all or nothing, and only while the incarnation has its lease: whoever buries it later
/// finds in its list all that it ever wrote. Users without times are taken away.
const PLACE: &str = "\
    if redis.call('EXISTS', KEYS[1]) == 0 then return redis.error_reply('LEASE the lease of this node had lapsed') end \
    local placed = {} \
    for i = 3, #KEYS do \
        local user, opened = ARGV[2 * i - 4], ARGV[2 * i - 3] \
        if opened == '' then \
            placed[#placed + 1] = redis.call('HDEL', KEYS[i], ARGV[1]) \
            redis.call('SREM', KEYS[2], user) \
        else \
            placed[#placed + 1] = redis.call('HSET', KEYS[i], ARGV[1], opened) \
            redis.call('SADD', KEYS[2], user) \
        end \
        placed[#placed + 1] = redis.call('HGETALL', KEYS[i]) \
    end \
    return placed";

/// What an incarnation that begins says to the others: look who is there.
pub(super) const LOOK: &str = "look";

pub(super) struct Directory {
    pool: Pool,
    prefix: String,
    lease_ms: u64,
    take: Script,
    place: Script,
}

/// What became of a user's place.
pub(super) struct Placed {
    pub(super) user: UserId,
    /// This incarnation came to hold the user, or no longer does.
    pub(super) changed: bool,
    /// Where the user's sockets are now.
    pub(super) places: Places,
}

impl Directory {
    pub(super) fn new(config: &Config, installation: &str) -> std::result::Result<Directory, String> {
        let wait = ms(config.redis_wait_ms);
        let patience = AsyncConnectionConfig::new().set_connection_timeout(Some(wait)).set_response_timeout(Some(wait));
        let manager =
            Manager::new_with_config(&*config.redis_url, patience).map_err(|cause| format!("--redis-url: {cause}"))?;
        let pool = Pool::builder(manager)
            .max_size(config.redis_connections.max(1))
            .wait_timeout(Some(wait))
            .create_timeout(Some(wait))
            .recycle_timeout(Some(wait))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|cause| format!("--redis-url: {cause}"))?;
        let prefix = format!("duet:{installation}");
        Ok(Directory {
            pool,
            prefix,
            lease_ms: config.node_lease_ms,
            take: Script::new(TAKE),
            place: Script::new(PLACE),
        })
    }

    /// The channel of an incarnation.
    pub(super) fn channel(&self, incarnation: &str) -> String {
        self.key("to", incarnation)
    }

    /// The key under which a user's places stand.
    pub(super) fn user(&self, user: UserId) -> String {
        self.key("user", user)
    }

    fn key(&self, kind: &str, which: impl std::fmt::Display) -> String {
        format!("{}:{kind}:{which}", self.prefix)
    }

    fn nodes(&self) -> String {
        format!("{}:nodes", self.prefix)
    }

    async fn run<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T> {
        let mut conn = self.pool.get().await?;
        Ok(pipeline.query_async(&mut conn).await?)
    }

    /// An incarnation begins, with these users, and says so to all. The one before it, if there was one, ends.
    pub(super) async fn begin(
        &self,
        incarnation: &str,
        previous: Option<&str>,
        here: &[(UserId, Vec<Micros>)],
    ) -> Result<()> {
        let mut first = pipe();
        first.cmd("SET").arg(self.key("node", incarnation)).arg("1").arg("PX").arg(self.lease_ms).ignore();
        first.cmd("SADD").arg(self.nodes()).arg(incarnation).ignore();
        self.run::<()>(&first).await?;
        self.place(incarnation, here).await?;
        if let Some(previous) = previous {
            self.clear(previous).await?;
        }
        let mut listed = pipe();
        listed.cmd("SMEMBERS").arg(self.nodes());
        let (listed,): (Vec<String>,) = self.run(&listed).await?;
        let mut tell = pipe();
        for node in listed {
            tell.cmd("PUBLISH").arg(self.channel(&node)).arg(LOOK).ignore();
        }
        self.run(&tell).await
    }

    /// Writes where some users are on this incarnation: with sockets opened at these times, or, without any, no more.
    /// An error where the lease of the incarnation lapsed.
    pub(super) async fn place(&self, incarnation: &str, users: &[(UserId, Vec<Micros>)]) -> Result<Vec<Placed>> {
        let mut placed = Vec::with_capacity(users.len());
        for some in users.chunks(PLACED_AT_ONCE) {
            let mut call = self.place.key(self.key("node", incarnation));
            call.key(self.key("at", incarnation)).arg(incarnation);
            for (user, opened) in some {
                call.key(self.user(*user)).arg(user.0).arg(times(opened));
            }
            let mut conn = self.pool.get().await?;
            let mut answers = call.invoke_async::<Vec<Value>>(&mut conn).await?.into_iter();
            for (user, _) in some {
                let (Some(changed), Some(places)) = (answers.next(), answers.next()) else { break };
                let parsed = |cause| Trouble::Redis(RedisError::from(cause));
                let changed = i64::from_redis_value(changed).map_err(parsed)? > 0;
                let places = HashMap::<String, String>::from_redis_value(places).map_err(parsed)?;
                let places = places.into_iter().map(|(node, opened)| (node, read_times(&opened))).collect();
                placed.push(Placed { user: *user, changed, places });
            }
        }
        Ok(placed)
    }

    /// Some of the users that are listed as being on an incarnation, and where the list goes on; 0 at its end.
    pub(super) async fn listed(&self, incarnation: &str, cursor: u64) -> Result<(u64, Vec<UserId>)> {
        let mut look = pipe();
        look.cmd("SSCAN").arg(self.key("at", incarnation)).arg(cursor).arg("COUNT").arg(PLACED_AT_ONCE);
        let ((next, users),): ((u64, Vec<i64>),) = self.run(&look).await?;
        Ok((next, users.into_iter().map(UserId).collect()))
    }

    /// Renews the lease of an incarnation and answers all that are listed; none if the lease had lapsed.
    pub(super) async fn keep(&self, incarnation: &str) -> Result<Option<Vec<String>>> {
        let mut pipeline = pipe();
        let lease = self.key("node", incarnation);
        pipeline.cmd("SET").arg(lease).arg("1").arg("XX").arg("PX").arg(self.lease_ms);
        pipeline.cmd("SMEMBERS").arg(self.nodes());
        let (kept, nodes): (Option<String>, Vec<String>) = self.run(&pipeline).await?;
        Ok(kept.map(|_| nodes))
    }

    /// An incarnation ends by its own will: its lease lapses now, and the others bury it.
    pub(super) async fn end(&self, incarnation: &str) -> Result<()> {
        let mut pipeline = pipe();
        pipeline.cmd("DEL").arg(self.key("node", incarnation)).ignore();
        self.run(&pipeline).await
    }

    /// Those of some incarnations whose lease lapsed.
    pub(super) async fn dead_among(&self, nodes: &[String]) -> Result<Vec<String>> {
        if nodes.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = pipe();
        for node in nodes {
            pipeline.cmd("EXISTS").arg(self.key("node", node));
        }
        let alive: Vec<bool> = self.run(&pipeline).await?;
        Ok(nodes.iter().zip(alive).filter(|(_, alive)| !alive).map(|(node, _)| node.clone()).collect())
    }

    /// Takes a dead incarnation's entries away, if no other node is at it. Answers the users it had.
    pub(super) async fn bury(&self, dead: &str) -> Result<Vec<UserId>> {
        let mut claim = pipe();
        claim.cmd("SET").arg(self.key("bury", dead)).arg("1").arg("NX").arg("PX").arg(BURIAL_MS);
        let (claimed,): (Option<String>,) = self.run(&claim).await?;
        match claimed {
            Some(_) => self.clear(dead).await,
            None => Ok(Vec::new()),
        }
    }

    async fn clear(&self, incarnation: &str) -> Result<Vec<UserId>> {
        let mut look = pipe();
        look.cmd("SMEMBERS").arg(self.key("at", incarnation));
        let (users,): (Vec<i64>,) = self.run(&look).await?;
        let users: Vec<UserId> = users.into_iter().map(UserId).collect();
        for some in users.chunks(PIPELINE) {
            let mut pipeline = pipe();
            for user in some {
                pipeline.cmd("HDEL").arg(self.user(*user)).arg(incarnation).ignore();
            }
            self.run::<()>(&pipeline).await?;
        }
        // Off the list last: whoever begins and does not end leaves it to the next one.
        let mut end = pipe();
        end.cmd("DEL").arg(self.key("at", incarnation)).arg(self.key("node", incarnation)).ignore();
        end.cmd("SREM").arg(self.nodes()).arg(incarnation).ignore();
        self.run::<()>(&end).await?;
        Ok(users)
    }

    /// Which of some users have a socket anywhere.
    pub(super) async fn present(&self, users: &[UserId]) -> Result<Vec<bool>> {
        let mut present = Vec::with_capacity(users.len());
        for some in users.chunks(PIPELINE) {
            let mut pipeline = pipe();
            for user in some {
                pipeline.cmd("EXISTS").arg(self.user(*user));
            }
            present.extend(self.run::<Vec<bool>>(&pipeline).await?);
        }
        Ok(present)
    }

    /// Takes one unit of a user's rate, or says how long to wait.
    pub(super) async fn take(&self, what: &str, user: UserId, rate: Rate) -> Result<std::result::Result<(), Duration>> {
        let mut conn = self.pool.get().await?;
        let key = self.key("rate", format_args!("{what}:{user}"));
        let interval = rate.interval().as_micros() as u64;
        let wait: u64 = self.take.key(key).arg(interval).arg(rate.burst()).invoke_async(&mut conn).await?;
        Ok(if wait == 0 { Ok(()) } else { Err(Duration::from_micros(wait)) })
    }
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

fn times(opened: &[Micros]) -> String {
    opened.iter().map(Micros::to_string).collect::<Vec<_>>().join(",")
}

fn read_times(text: &str) -> Vec<Micros> {
    text.split(',').filter_map(|at| at.parse().ok()).collect()
}
