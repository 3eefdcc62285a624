//! duet: a WebSocket-first chat and matching server.

pub mod config;
pub mod error;
pub mod model;
pub mod protocol;
