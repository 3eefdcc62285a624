//! A model of a client, written from protocol.md alone, against the server's own operations: users block, unblock, write,
//! change, delete, react, join, leave and get roles in random order, while one device of each is live and another comes
//! and goes. Whenever a device's cursors stand at the heads, it shows what a device shows that reads everything now.

mod copy;
mod device;
mod world;

use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use super::support;
use device::Device;
use world::World;

/// Steps of one world. A new one begins small again, so that blocks and joins meet short histories, too.
const STEPS: usize = 500;
/// Users of a world, each with two devices.
const USERS: usize = 5;
/// Steps between two comparisons.
const BETWEEN: usize = 10;

/// How many worlds are gone through: `DUET_WORLDS`, or a few.
#[expect(clippy::disallowed_methods, reason = "the length of a test is not a setting of the server")]
fn worlds(few: usize) -> usize {
    std::env::var("DUET_WORLDS").map_or(few, |text| text.parse().expect("DUET_WORLDS is a number"))
}

/// What a user is shown of each conversation: what devices are compared by.
type Shown = BTreeMap<i64, Value>;

#[tokio::test]
async fn n13_equal_cursors_show_the_same() {
    let seed = support::seed();
    for number in 0..worlds(if support::setup::SetUp::of_this_run().nodes() > 1 { 2 } else { 10 }) as u64 {
        println!("world {number}: DUET_SEED={} is its own", seed + number);
        live_through(seed + number).await;
    }
}

async fn live_through(seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut world = World::new(USERS).await;
    let mut devices = Vec::new();
    for user in world.users.clone() {
        let mut pair = [Device::new(user), Device::new(user)];
        for device in &mut pair {
            device.connect(&world).await;
        }
        devices.push(pair);
    }
    for step in 0..STEPS {
        let of = random.random_range(0..USERS);
        world.act(&mut random, &devices[of][0]).await;
        for [live, other] in &mut devices {
            if random.random_bool(0.6) {
                live.take_in(&world, random.random_bool(0.3)).await;
            }
            match random.random_range(0..20) {
                0 => other.disconnect(&world),
                1..=2 if !other.is_connected() => other.connect(&world).await,
                3..=6 => other.take_in(&world, random.random_bool(0.3)).await,
                _ => {}
            }
        }
        if step % BETWEEN == 0 {
            let devices = &mut devices[random.random_range(0..USERS)];
            compare(&world, devices, random.random_bool(0.5)).await;
        }
    }
    for pair in &mut devices {
        compare(&world, pair, true).await;
    }
}

/// Fails unless both devices show what one that reads everything now shows. The other one is connected first if asked.
async fn compare(world: &World, [live, other]: &mut [Device; 2], connecting: bool) {
    if connecting && !other.is_connected() {
        other.connect(world).await;
    }
    for (name, device) in [("the live one", live), ("the resuming one", other)] {
        if !device.is_connected() {
            continue;
        }
        device.settle(world).await;
        let user = device.user;
        let (heads, fresh) = (world.heads(user).await, world.shown(user).await);
        let known = device.cursors();
        assert!(known == heads, "{name} of {user} stands at {known:?}, not at {heads:?}\n{}", world.told());
        let shown = device.shown(&fresh);
        for (conversation, fresh) in &fresh {
            let shown = shown.get(conversation).unwrap_or(&Value::Null);
            let differing = differing(shown, fresh);
            let told = world.told();
            assert!(shown == fresh, "{name} of {user} differs in {conversation}: {differing}\n{told}");
        }
        assert!(shown.len() == fresh.len(), "{name} of {user} shows more conversations than there are");
        let (known, lists) = (device.lists(), world.lists(user).await);
        assert!(known == lists, "{name} of {user} knows {known}, but there is {lists}\n{}", world.told());
    }
}

/// Where two views of a conversation differ first.
fn differing(shown: &Value, fresh: &Value) -> String {
    for (name, value) in fresh.as_object().expect("an object") {
        if name == "messages" {
            let (shown, fresh) = (shown[name].as_object(), value.as_object().expect("messages"));
            let places = shown.into_iter().flat_map(|messages| messages.keys()).chain(fresh.keys());
            for place in places {
                let shown = shown.and_then(|messages| messages.get(place));
                if shown != fresh.get(place) {
                    return format!("message {place} is {shown:?}, and should be {:?}", fresh.get(place));
                }
            }
        } else if shown[name] != *value {
            return format!("{name} is {}, and should be {value}", shown[name]);
        }
    }
    String::new()
}
