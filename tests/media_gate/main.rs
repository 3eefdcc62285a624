//! What uploads become at the gate, told with real files of which many are hostile: disguised, bombs, full of what
//! their owner did not mean to tell, or broken.
#![expect(clippy::expect_used, clippy::panic, reason = "a story that cannot go on says why")]

mod broken;
mod disguises;
mod endless;
mod hoards;
mod make;
mod pictures;
mod random;
mod secrets;
mod upload;
mod voices;
mod waiting;
