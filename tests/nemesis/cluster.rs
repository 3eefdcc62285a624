//! Three nodes on a private Postgres and Redis, with a proxy on every way: clients to nodes, nodes to Postgres, nodes to
//! Redis.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::support::Server;
use crate::support::checker::Source;
use crate::support::node::{Addresses, Launch, Pairs};
use crate::support::private::{Postgres, Redis, free_address};
use crate::support::proxy::{Proxy, Weather};

/// Nodes of the cluster.
pub const NODES: usize = 3;
/// Signs the tokens of all nodes.
const KEY: &str = "t9QW-one-key-for-the-nodes-of-the-nemesis";
/// Load is no abuse here; passwords cost little; who is silent is noticed within seconds, as the faults take seconds.
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
    ("ping-ms", "3000"),
    ("silent-ms", "9000"),
    ("write-ms", "5000"),
];

/// All of it.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes, reached by clients through the proxies.
    pub server: Server,
    /// Where each node's operator listens.
    pub operators: Vec<SocketAddr>,
    /// In front of each node.
    pub clients: Vec<Proxy>,
    /// From each node to Postgres.
    pub to_postgres: Vec<Proxy>,
    /// From each node to Redis.
    pub to_redis: Vec<Proxy>,
    /// Where files ask nodes to fail, by node.
    pub failpoints: Vec<PathBuf>,
    /// The database.
    pub postgres: Postgres,
    /// The doorbell.
    pub redis: Redis,
}

impl Cluster {
    /// Starts everything. A fault of the server itself may be planted in all nodes.
    pub async fn start(planted: Option<&str>) -> Cluster {
        let postgres = Postgres::start_on_a_small_disk().await;
        let redis = Redis::start().await;
        let database = postgres.create().await;
        let home = tempfile::Builder::new().prefix("duet-nemesis-").tempdir().expect("a temporary directory");
        let (mut clients, mut to_postgres, mut to_redis) = (Vec::new(), Vec::new(), Vec::new());
        let (mut launches, mut operators, mut failpoints) = (Vec::new(), Vec::new(), Vec::new());
        for node in 0..NODES {
            let (listen, operator) = (free_address(), free_address());
            clients.push(Proxy::start(listen).await);
            to_postgres.push(Proxy::start(postgres.address).await);
            to_redis.push(Proxy::start(redis.address).await);
            let folder = home.path().join(format!("failpoints-{node}"));
            std::fs::create_dir(&folder).expect("a directory");
            let mut settings = owned(SETTINGS);
            let through =
                |url: String, from: SocketAddr, to: SocketAddr| url.replace(&from.to_string(), &to.to_string());
            let url = through(postgres.url(&database), postgres.address, to_postgres[node].address);
            settings.push(("database-url".to_owned(), url));
            let url = through(redis.url(), redis.address, to_redis[node].address);
            settings.push(("redis-url".to_owned(), url));
            settings.push(("operator-listen".to_owned(), operator.to_string()));
            let mut environment = owned(&[("DUET_SECRET", KEY), ("DUET_FAILPOINTS", &folder.to_string_lossy())]);
            environment
                .extend(owned(&planted.map(|fault| ("DUET_PLANTED_FAULT", fault)).into_iter().collect::<Vec<_>>()));
            launches.push(Launch { data: home.path().join(format!("data-{node}")), listen, settings, environment });
            operators.push(operator);
            failpoints.push(folder);
        }
        let mut server = Server::assemble(home, Source::Url(postgres.url(&database)), launches).await;
        server.addresses = Addresses::new(clients.iter().map(|proxy| proxy.address).collect());
        Cluster { server, operators, clients, to_postgres, to_redis, failpoints, postgres, redis }
    }

    /// All ways, those of clients included.
    pub fn proxies(&self) -> impl Iterator<Item = &Proxy> {
        self.clients.iter().chain(&self.to_postgres).chain(&self.to_redis)
    }

    /// The weather on all ways of all nodes.
    pub fn weather(&self, weather: Weather) {
        self.proxies().for_each(|proxy| proxy.set(weather));
    }
}

fn owned(pairs: &[(&str, &str)]) -> Pairs {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
