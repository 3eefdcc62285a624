//! The ranking engine: pure. No waiting, no clock, no input or output.

pub mod age;
pub mod place;
