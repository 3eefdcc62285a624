//! The guards of the gate: how much is at work at once.

use std::sync::Arc;
use std::time::Duration;

use duet::media::{Gate, Kind, Limits, Refused, Wanted};
use tokio::time::timeout;

use crate::make;
use crate::upload::{Upload, limits};

#[tokio::test(flavor = "multi_thread")]
async fn many_come_through_a_narrow_gate() {
    // Memory for one picture of 40,000 pixels at a time.
    let gate = Arc::new(Gate::open(Limits { pixels: 40_000, ..limits() }, 3).expect("a gate"));
    let (picture, sound) = (make::png(&make::noise(200, 200)), crate::voices::opus(48_312));
    let mut tasks = tokio::task::JoinSet::new();
    for turn in 0..24 {
        let (gate, upload) = (Arc::clone(&gate), Upload::of(if turn % 3 == 0 { &sound } else { &picture }));
        tasks.spawn(async move {
            let taken = gate.take(upload.path(), upload.kept(), Wanted::Anything).await.expect("it comes in");
            (turn, taken.kind)
        });
    }
    while let Some(done) = tasks.join_next().await {
        let (turn, kind) = done.expect("no panic");
        assert_eq!(kind, if turn % 3 == 0 { Kind::Voice } else { Kind::Image });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_gives_its_place_back() {
    let gate = Gate::open(limits(), 1).expect("a gate");
    for _ in 0..5 {
        for bytes in [&b"no picture"[..], b"GIF89a broken", &make::claiming_png(60_000, 60_000, b"")] {
            let upload = Upload::of(bytes);
            assert!(gate.take(upload.path(), upload.kept(), Wanted::Image).await.is_err());
        }
        let missing = Upload::of(b"");
        let refused = gate.take(missing.kept().join("nothing"), missing.kept(), Wanted::Image).await;
        assert!(matches!(refused, Err(Refused::Failed(_))));
    }
    let upload = Upload::of(&make::png(&make::quarters(8, 8)));
    gate.take(upload.path(), upload.kept(), Wanted::Image).await.expect("there is a place");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_away_leaves_the_place_taken_until_the_work_is_over() {
    let gate = Arc::new(Gate::open(limits(), 1).expect("a gate"));
    let large = Upload::of(&make::png(&make::noise(1500, 1500)));
    let (path, into) = (large.path(), large.kept());
    // Until it has begun to write, and so is in the middle of its work.
    let begun = tokio::spawn({
        let (gate, into) = (Arc::clone(&gate), into.clone());
        async move { gate.take(path, into, Wanted::Image).await }
    });
    while !into.join("whole").exists() {
        tokio::task::yield_now().await;
    }
    begun.abort();
    assert!(begun.await.is_err_and(|ended| ended.is_cancelled()));
    let next = Upload::of(b"any file");
    let next = gate.take(next.path(), next.kept(), Wanted::Anything);
    timeout(Duration::from_secs(60), next).await.expect("its turn comes").expect("it comes in");
    // The work went on to its end before: the smallest size, which is written last, is whole.
    let small = std::fs::read(into.join("small")).expect("the work was over");
    assert!(small.ends_with(b"\xff\xd9"));
}
