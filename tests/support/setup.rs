//! The two set-ups in which the stories are told: one process with SQLite, and two nodes on Postgres and Redis.

use tokio::sync::OnceCell;

use super::private::{Postgres, Redis};

/// Nodes of a server in the cluster.
const NODES: usize = 2;

/// On what the stories of this run stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetUp {
    /// One process with its SQLite file.
    Alone,
    /// Several nodes on one database of a Postgres and one Redis, with each new client on the next node in turn.
    Cluster,
}

/// Why a story runs on one process with SQLite in both set-ups. Nothing else may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// It opens, replaces or breaks the file of the database, or is about the one process that may have it.
    OfTheFile,
    /// It counts what every process counts for itself: connections, addresses, memory.
    OfTheProcess,
}

impl SetUp {
    /// That of this run: `DUET_TEST_ON=postgres` is the cluster.
    #[expect(clippy::disallowed_methods, reason = "how a test is run is not a setting of the server")]
    pub fn of_this_run() -> SetUp {
        match std::env::var("DUET_TEST_ON").as_deref() {
            Ok("postgres") => SetUp::Cluster,
            Err(_) | Ok("" | "sqlite") => SetUp::Alone,
            Ok(other) => panic!("DUET_TEST_ON={other}: it is postgres or sqlite"),
        }
    }

    /// How many processes a server is.
    pub fn nodes(self) -> usize {
        if self == SetUp::Cluster { NODES } else { 1 }
    }
}

/// The Postgres and the Redis of this test binary, started when the first story asks. Their guards end them when the
/// binary ends.
#[derive(Debug)]
pub struct Shared {
    /// Each server has a database of its own on it.
    pub postgres: Postgres,
    /// All servers have it together.
    pub redis: Redis,
}

/// What all clusters of this test binary stand on.
pub async fn shared() -> &'static Shared {
    static SHARED: OnceCell<Shared> = OnceCell::const_new();
    SHARED.get_or_init(async || Shared { postgres: Postgres::start().await, redis: Redis::start().await }).await
}
