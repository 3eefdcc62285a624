//! A cluster of one's own for each story: some nodes, a Postgres and a Redis that nobody else has, and a proxy between
//! each node and Redis.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::support::checker::Source;
use crate::support::node::{Addresses, Launch};
use crate::support::private::{Postgres, Redis, free_address};
use crate::support::proxy::Proxy;
use crate::support::server::Account;
use crate::support::setup::shared;
use crate::support::{Client, Server, http};

/// Load is no abuse where a story is not about abuse.
const SETTINGS: &[(&str, &str)] = &[
    ("log", "warn"),
    ("argon2-memory-kib", "8"),
    ("argon2-passes", "1"),
    ("hash-queue", "1000"),
    ("commands-per-s", "0"),
    ("direct-per-hour", "0"),
    ("sockets-per-address", "0"),
    ("unauthenticated-per-address", "0"),
    ("login-prefix-burst", "100000"),
];

/// All of it.
pub(crate) struct Rig {
    /// The nodes.
    pub(crate) server: Server,
    /// Where each node's operator listens.
    pub(crate) operators: Vec<SocketAddr>,
    /// From each node to Redis.
    pub(crate) to_redis: Vec<Proxy>,
    /// The doorbell.
    pub(crate) redis: Redis,
    /// The database, where the story has one of its own.
    pub(crate) postgres: Option<Postgres>,
}

impl Rig {
    /// So many nodes on the Postgres of this test binary.
    pub(crate) async fn start(nodes: usize, settings: &[(&str, &str)]) -> Rig {
        let postgres = &shared().await.postgres;
        let url = postgres.url(&postgres.create().await);
        Rig::on(url, None, nodes, settings).await
    }

    /// So many nodes on a Postgres that the story may stop.
    pub(crate) async fn with_postgres(nodes: usize, settings: &[(&str, &str)]) -> Rig {
        let postgres = Postgres::start().await;
        let url = postgres.url(&postgres.create().await);
        Rig::on(url, Some(postgres), nodes, settings).await
    }

    async fn on(url: String, postgres: Option<Postgres>, nodes: usize, own: &[(&str, &str)]) -> Rig {
        let redis = Redis::start().await;
        let home = tempfile::Builder::new().prefix("duet-cluster-").tempdir().expect("a temporary directory");
        let (mut to_redis, mut operators, mut launches) = (Vec::new(), Vec::new(), Vec::new());
        for node in 0..nodes {
            let (proxy, operator) = (Proxy::start(redis.address).await, free_address());
            let mut settings: Vec<(&str, String)> = SETTINGS
                .iter()
                .filter(|(name, _)| !own.iter().any(|(other, _)| other == name))
                .copied()
                .chain(own.iter().copied())
                .map(|(name, value)| (name, value.to_owned()))
                .collect();
            settings.push(("database-url", url.clone()));
            settings.push(("redis-url", format!("redis://{}", proxy.address)));
            settings.push(("operator-listen", operator.to_string()));
            launches.push(Launch {
                data: home.path().join(format!("data-{node}")),
                listen: SocketAddr::from(([127, 0, 0, 1], 0)),
                settings: settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
                environment: vec![("DUET_SECRET".to_owned(), "one-key-for-all-nodes-of-these-stories".to_owned())],
            });
            to_redis.push(proxy);
            operators.push(operator);
        }
        let server = Server::assemble(home, Source::Url(url), launches).await;
        let rig = Rig { server, operators, to_redis, redis, postgres };
        for node in 0..nodes {
            rig.until(node, "ready", true).await;
        }
        // Each knows of all the others.
        for node in 0..nodes {
            rig.health(node, "to know of all others", |health| health["nodes"] == nodes).await;
        }
        rig
    }

    /// A client of this account on one node.
    pub(crate) async fn on_node(&self, node: usize, account: Account) -> Client {
        let address = Addresses::one(self.server.nodes[node].address);
        Client::connect_recorded(&address, &self.server.recorder, account).await
    }

    /// A new user with a socket on one node.
    pub(crate) async fn user(&self, node: usize, name: &str) -> Client {
        self.on_node(node, self.server.account(name).await).await
    }

    /// Waits until a node is ready, or is not, and answers how long that took.
    pub(crate) async fn until(&self, node: usize, what: &str, ready: bool) -> Duration {
        let begun = Instant::now();
        let address = self.server.nodes[node].address;
        crate::support::in_time(what, async {
            while (http::call(address, "GET", "/readyz", None, None).await.status == 200) != ready {
                // Before the next look.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        begun.elapsed()
    }

    /// Waits until what a node tells its operator fits.
    pub(crate) async fn health(&self, node: usize, what: &str, fits: impl Fn(&serde_json::Value) -> bool) {
        crate::support::in_time(what, async {
            while !fits(&http::call(self.operators[node], "GET", "/health", None, None).await.json) {
                // Before the next look.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    /// A counter of a node, summed over its labels.
    pub(crate) async fn counted(&self, node: usize, name: &str) -> f64 {
        let text = http::call(self.operators[node], "GET", "/metrics", None, None).await.body;
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// All that a counter counted, over all nodes.
    pub(crate) async fn counted_everywhere(&self, name: &str) -> f64 {
        let mut sum = 0.0;
        for node in 0..self.operators.len() {
            sum += self.counted(node, name).await;
        }
        sum
    }
}

/// Opens the conversation of two users.
pub(crate) async fn open(one: &mut Client, other: &Client) -> i64 {
    let opened = one.command("conversation.open", serde_json::json!({ "user": other.user })).await;
    opened["id"].as_i64().expect("a conversation has an id")
}
