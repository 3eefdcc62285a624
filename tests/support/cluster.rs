//! A cluster of one's own: some nodes, a Redis that nobody else has, and a proxy on every way: clients to nodes, nodes to
//! Postgres, nodes to Redis.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::checker::Source;
use super::node::{Addresses, Launch};
use super::private::{Postgres, Redis, free_address};
use super::proxy::{Proxy, Weather};
use super::server::{Account, environment, home, settings};
use super::setup::{SetUp, shared};
use super::stopwatch::Stopwatch;
use super::{Client, Server, http, in_time};

/// What a cluster is made of, where it is not the usual.
#[derive(Debug, Default)]
pub struct Parts<'a> {
    /// A database server that the story may stop; else it is that of the test binary.
    pub postgres: Option<Postgres>,
    /// A Redis; else a plain one.
    pub redis: Option<Redis>,
    /// Settings of all nodes.
    pub settings: &'a [(&'a str, &'a str)],
    /// Variables of the environment of all nodes.
    pub environment: &'a [(&'a str, &'a str)],
}

/// All of it.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes; clients reach them without the proxies.
    pub server: Server,
    /// Where each node's operator listens.
    pub operators: Vec<SocketAddr>,
    /// In front of each node, for clients that are to go through it.
    pub clients: Vec<Proxy>,
    /// From each node to Postgres.
    pub to_postgres: Vec<Proxy>,
    /// From each node to Redis.
    pub to_redis: Vec<Proxy>,
    /// Where files ask nodes to fail, by node.
    pub failpoints: Vec<PathBuf>,
    /// The doorbell.
    pub redis: Redis,
    postgres: Option<Postgres>,
}

impl Cluster {
    /// So many nodes on the Postgres of this test binary.
    pub async fn start(nodes: usize, settings: &[(&str, &str)]) -> Cluster {
        Cluster::of(nodes, Parts { settings, ..Parts::default() }).await
    }

    /// So many nodes on a Postgres that the story may stop.
    pub async fn with_postgres(nodes: usize, settings: &[(&str, &str)]) -> Cluster {
        Cluster::of(nodes, Parts { postgres: Some(Postgres::start().await), settings, ..Parts::default() }).await
    }

    /// So many nodes, of these parts.
    pub async fn of(nodes: usize, parts: Parts<'_>) -> Cluster {
        let postgres = match &parts.postgres {
            Some(own) => own,
            None => &shared().await.postgres,
        };
        let redis = match parts.redis {
            Some(redis) => redis,
            None => Redis::start().await,
        };
        let (address, url) = (postgres.address, postgres.url(&postgres.create().await));
        // Whoever comes with the same address, as all clients here do, is no guesser.
        let own = [&[("login-prefix-burst", "100000")], parts.settings].concat();
        let home = home();
        let (mut to_postgres, mut to_redis) = (Vec::new(), Vec::new());
        let (mut launches, mut operators, mut failpoints) = (Vec::new(), Vec::new(), Vec::new());
        for node in 0..nodes {
            let (databases, doorbells) = (Proxy::start(address).await, Proxy::start(redis.address).await);
            let (operator, folder) = (free_address(), home.path().join(format!("failpoints-{node}")));
            std::fs::create_dir(&folder).expect("a directory");
            let through =
                |url: &str, from: SocketAddr, to: &Proxy| url.replace(&from.to_string(), &to.address.to_string());
            let mut settings = settings(&own);
            for (name, value) in [
                ("database-url", through(&url, address, &databases)),
                ("redis-url", through(&redis.url(), redis.address, &doorbells)),
                ("operator-listen", operator.to_string()),
                ("media-url", format!("file://{}", home.path().join("media").display())),
            ] {
                settings.push((name.to_owned(), value));
            }
            let mut environment = environment(SetUp::Cluster, parts.environment);
            environment.push(("DUET_FAILPOINTS".to_owned(), folder.to_string_lossy().into_owned()));
            // A backtrace needs 160 MiB for the names in it, which would hide what the server itself holds.
            environment.push(("RUST_BACKTRACE".to_owned(), "0".to_owned()));
            let data = home.path().join(format!("data-{node}"));
            launches.push(Launch { data, listen: free_address(), settings, environment });
            to_postgres.push(databases);
            to_redis.push(doorbells);
            operators.push(operator);
            failpoints.push(folder);
        }
        let server = Server::assemble(home, Source::Url(url), launches).await;
        let mut clients = Vec::new();
        for node in &server.nodes {
            clients.push(Proxy::start(node.address).await);
        }
        let postgres = parts.postgres;
        let cluster = Cluster { server, operators, clients, to_postgres, to_redis, failpoints, redis, postgres };
        for node in 0..nodes {
            cluster.health(node, "a node to know of all others", |health| health["nodes"] == nodes).await;
        }
        cluster
    }

    /// The database server of its own.
    ///
    /// # Panics
    /// When it has none.
    pub fn postgres(&mut self) -> &mut Postgres {
        self.postgres.as_mut().expect("a Postgres of its own")
    }

    /// All ways, those of clients included.
    pub fn proxies(&self) -> impl Iterator<Item = &Proxy> {
        self.clients.iter().chain(&self.to_postgres).chain(&self.to_redis)
    }

    /// The weather on all ways of all nodes.
    pub fn weather(&self, weather: Weather) {
        self.proxies().for_each(|proxy| proxy.set(weather));
    }

    /// A client of this account on one node.
    pub async fn on_node(&self, node: usize, account: Account) -> Client {
        let address = Addresses::one(self.server.nodes[node].address);
        Client::connect_recorded(&address, &self.server.recorder, account).await
    }

    /// A new user with a socket on one node.
    pub async fn user(&self, node: usize, name: &str) -> Client {
        self.on_node(node, self.server.account(name).await).await
    }

    /// Waits until a node is ready, or is not, and answers how long that took, as far
    /// as a processor was free.
    pub async fn until(&self, node: usize, what: &str, ready: bool) -> Duration {
        let begun = Stopwatch::start();
        let address = self.server.nodes[node].address;
        in_time(what, async {
            while (http::call(address, "GET", "/readyz", None, None).await.status == 200) != ready {
                // Before the next look.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        begun.quiet()
    }

    /// Waits until what a node tells its operator fits.
    pub async fn health(&self, node: usize, what: &str, fits: impl Fn(&Value) -> bool) {
        in_time(what, async {
            while !fits(&http::call(self.operators[node], "GET", "/health", None, None).await.json) {
                // Before the next look.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    /// A counter of a node, summed over its labels.
    pub async fn counted(&self, node: usize, name: &str) -> f64 {
        let text = http::call(self.operators[node], "GET", "/metrics", None, None).await.body;
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// All that a counter counted, over all nodes.
    pub async fn counted_everywhere(&self, name: &str) -> f64 {
        let mut sum = 0.0;
        for node in 0..self.operators.len() {
            sum += self.counted(node, name).await;
        }
        sum
    }
}

/// Opens the conversation of two users.
pub async fn open(one: &mut Client, other: &Client) -> i64 {
    let opened = one.command("conversation.open", json!({ "user": other.user })).await;
    opened["id"].as_i64().expect("a conversation has an id")
}
