//! How what was committed reaches the sockets: those of this node at once, those of other nodes through Redis.
//!
//! Redis is a doorbell, never the record. Nothing here is waited for by an acknowledgement, and whatever Redis loses the
//! sweep (`feed/sweep.rs`) finds in the database.

mod directory;
mod node;
mod notice;
mod publisher;
mod registration;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::config::Config;
use crate::feed::Feed;
use crate::limits::{Nodes, Rate};
use crate::model::{Micros, UserId};

pub use notice::{Notice, Told};

use node::Node;

/// Whether a user has a socket, as far as this node can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereabouts {
    /// On some node.
    Connected,
    /// On none.
    Absent,
    /// Redis does not answer, and did not lately.
    Unknown,
}

/// The way from a commit to the sockets.
#[derive(Debug)]
pub struct Bus {
    feed: Arc<Feed>,
    /// This node among others; none where there is no Redis.
    node: Option<Arc<Node>>,
}

impl Bus {
    /// A bus within this node.
    pub fn local(feed: Arc<Feed>) -> Bus {
        Bus { feed, node: None }
    }

    /// A bus between the nodes that share a Redis and an installation. Works from the start, whether or not Redis
    /// answers. `nodes` is told how many nodes there are, `gone` gets the
    /// users of those that died.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn between_nodes(
        config: &Config,
        installation: &str,
        feed: Arc<Feed>,
        nodes: Nodes,
        gone: mpsc::Sender<Vec<UserId>>,
    ) -> std::result::Result<Bus, String> {
        let node = Node::start(config, installation, Arc::clone(&feed), nodes, gone)?;
        Ok(Bus { feed, node: Some(node) })
    }

    /// Tells the sockets. Never waits.
    pub fn publish(&self, told: impl Into<Told>) {
        let told = told.into();
        self.feed.apply(&told.notices);
        if let Some(node) = &self.node {
            node.publish(told);
        }
    }

    /// Whether others are told through Redis, so that the members of a conversation are worth looking up.
    pub fn spans_nodes(&self) -> bool {
        self.node.is_some()
    }

    /// Whether this node hears what others tell; always so without others.
    pub fn hears(&self) -> bool {
        self.node.as_ref().is_none_or(|node| node.hears())
    }

    /// How many nodes there are, as far as is known.
    pub fn nodes(&self) -> u32 {
        self.node.as_ref().map_or(1, |node| node.nodes.count())
    }

    /// A socket of a user was registered here: other nodes will tell this one what concerns the user. Returns when they
    /// do, or when Redis does not answer in time.
    pub async fn enter(&self, user: UserId) {
        if let Some(node) = &self.node {
            node.enter(user).await;
        }
    }

    /// A socket of a user was removed here.
    pub fn left(&self, user: UserId) {
        if let Some(node) = &self.node {
            node.left(user);
        }
    }

    /// Which of some users have a socket on any node.
    pub async fn whereabouts(&self, users: &[UserId]) -> HashMap<UserId, Whereabouts> {
        match &self.node {
            Some(node) => node.whereabouts(users).await,
            None => {
                let here = |user: &UserId| match self.feed.hub.is_here(*user) {
                    true => Whereabouts::Connected,
                    false => Whereabouts::Absent,
                };
                users.iter().map(|user| (*user, here(user))).collect()
            }
        }
    }

    /// Takes one unit of a user's rate that all nodes share, or says how long to wait. None where Redis cannot be asked.
    pub async fn take(&self, what: &'static str, user: UserId, rate: Rate) -> Option<Result<(), Duration>> {
        self.node.as_ref()?.take(what, user, rate).await
    }

    /// This node goes: the others take its users over at once.
    pub async fn leave(&self) {
        if let Some(node) = &self.node {
            node.leave().await;
        }
    }
}

/// When the sockets of a user were opened, by node.
type Places = HashMap<String, Vec<Micros>>;
