//! A piece of a run that is judged by itself: fresh people, faults until its time is over, quiet, the checker.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::faults::{FAULTS, Fault};
use crate::run::{Run, Struck};
use crate::support::cluster::Cluster;
use crate::support::flood::{Cast, Flood, Plan, cast};
use crate::support::http;
use crate::support::node::Node;

/// Until when a node must have let go of everybody who left.
const GONE: Duration = Duration::from_secs(20);
/// Most that a node without clients may hold: connections to the database and to Redis, the tasks that keep it going,
/// and what its allocator keeps of the worst that it went through.
const DESCRIPTORS: usize = 64;
const TASKS: u64 = 64;
const MEMORY_KIB: usize = 64 * 1024;
/// How long people go on after Redis is gone, before they are quiet.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Who takes part: two devices each, never both on one node.
const PEOPLE: Cast = Cast { users: 24, devices: 2, direct: 3, groups: 4, group_of: 6 };
/// How often the record is read meanwhile, so that not all of it is left for the end.
const FOLD: Duration = Duration::from_secs(3);

/// How a run goes.
#[derive(Debug, Clone)]
pub struct Course {
    /// For all that is left to chance.
    pub seed: u64,
    /// How long a segment lasts, without its end.
    pub time: Duration,
    /// The longest that a fault is held; some need longer.
    pub longest: Duration,
    /// Kinds of faults, all of which come up before any comes up again.
    pub kinds: Vec<Fault>,
    /// How many commands are edits, deletions, reactions and reads instead of sends.
    pub changes: f64,
}

impl Course {
    /// The fault that comes after so many others.
    fn fault(&self, dealt: usize) -> Fault {
        let mut kinds = self.kinds.clone();
        let round = (dealt / kinds.len()) as u64;
        kinds.shuffle(&mut SmallRng::seed_from_u64(self.seed ^ round.wrapping_mul(0x9e37_79b9)));
        kinds[dealt % kinds.len()]
    }
}

/// A judged segment.
#[derive(Debug)]
pub struct Judged {
    /// Its figures, as they are kept.
    pub line: Value,
    /// What broke a promise.
    pub findings: Vec<String>,
}

/// Plays one segment, after so many faults of earlier ones.
pub async fn play(cluster: &mut Cluster, course: &Course, number: usize, dealt: usize) -> Judged {
    let begun = Instant::now();
    let seed = course.seed.wrapping_add(number as u64);
    let mut dice = SmallRng::seed_from_u64(seed);
    let recorder = cluster.server.another_record();
    cluster.server.recorder = Arc::clone(&recorder);
    let prefix = format!("s{number}x{:x}u", dice.random::<u16>());
    let devices = cast(&cluster.server, &recorder, &prefix, PEOPLE).await;
    let connected = devices.len();
    let plan = Plan {
        window: 4,
        changes: course.changes,
        // So that nobody stays for ever where a fault once drove them.
        cuts: 0.001,
        pace: Duration::from_millis(150),
        gives_up: Duration::from_secs(3),
        ..Plan::default()
    };
    let flood = Flood::start(&cluster.server.addresses, devices, plan, seed);
    let reading = Arc::clone(&recorder);
    let folding = tokio::spawn(async move {
        loop {
            tokio::time::sleep(FOLD).await;
            let reading = Arc::clone(&reading);
            tokio::task::spawn_blocking(move || reading.fold()).await.expect("the record is read");
        }
    });
    let mut run = Run::new(cluster, &flood, dice, course.longest);
    run.talker = format!("{prefix}0");
    let mut struck: Vec<Struck> = Vec::new();
    while begun.elapsed() < course.time {
        let fault = course.fault(dealt + struck.len());
        let one = run.suffer(fault).await;
        println!("{:>5.0} s  {fault:?}: {} unanswered, {}", begun.elapsed().as_secs_f64(), one.unanswered, one.figures);
        struck.push(one);
    }
    let mut findings = std::mem::take(&mut run.findings);
    // The last words are said while there is no doorbell: nothing comes after them that could show that they are missing.
    cluster.redis.process().kill();
    tokio::time::sleep(LAST_WORDS).await;
    flood.drain();
    folding.abort();
    let source = cluster.server.database().clone();
    let verdict = flood.settle(&recorder, &source).await;
    cluster.redis.restart().await;
    findings.extend(verdict.findings);
    let statistics = verdict.statistics;
    if statistics.complete_devices != connected {
        findings.push(format!("only {} of {connected} devices came back", statistics.complete_devices));
    }
    let nodes = nodes(cluster, &mut findings).await;
    let line = json!({
        "segment": number,
        "seed": course.seed,
        "seconds": begun.elapsed().as_secs(),
        "acknowledged": statistics.acknowledged,
        "repeated": statistics.repeated,
        "deliveries": statistics.deliveries,
        "resumes": statistics.resumes,
        "changes": statistics.changes,
        "faults": struck.len(),
        "counted": struck.iter().filter(|one| one.unanswered > 0).count(),
        "kinds": by_kind(&struck),
        "nodes": nodes,
        "findings": findings,
    });
    Judged { line, findings }
}

/// By kind: how often it counted, and the longest waits.
fn by_kind(struck: &[Struck]) -> Value {
    let mut kinds: BTreeMap<String, Value> = BTreeMap::new();
    for one in struck {
        let kind = kinds.entry(format!("{:?}", one.fault)).or_insert_with(|| json!({ "counted": 0, "silence_ms": 0 }));
        kind["counted"] = (kind["counted"].as_u64().unwrap_or_default() + u64::from(one.unanswered > 0)).into();
        let longest = kind["silence_ms"].as_u64().unwrap_or_default().max(one.silence_ms);
        kind["silence_ms"] = longest.into();
        for (figure, value) in one.figures.as_object().into_iter().flatten() {
            let longest = kind[figure].as_u64().max(value.as_u64());
            kind[figure] = longest.into();
        }
    }
    json!(kinds)
}

/// What each node holds once nobody is there any more. It may be no more after hours than after minutes.
async fn nodes(cluster: &Cluster, findings: &mut Vec<String>) -> Value {
    let mut all = Vec::new();
    for (number, node) in cluster.server.nodes.iter().enumerate() {
        let operator = cluster.operators[number];
        let begun = Instant::now();
        // Sockets whose clients vanished without a word go when they have been silent for too long.
        let held = loop {
            let held = Held::of(node, operator).await;
            if held.is_little() || begun.elapsed() > GONE {
                break held;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        if !held.is_little() {
            findings.push(format!("{GONE:?} after everybody left, node {number} still holds {held:?}"));
        }
        all.push(json!({
            "descriptors": held.descriptors,
            "memory_kib": held.memory_kib,
            "tasks": held.tasks,
            "sockets": held.sockets,
        }));
    }
    json!(all)
}

/// What a node holds.
#[derive(Debug)]
struct Held {
    descriptors: usize,
    memory_kib: usize,
    tasks: u64,
    sockets: u64,
}

impl Held {
    async fn of(node: &Node, operator: SocketAddr) -> Held {
        let numbers = http::call(operator, "GET", "/metrics", None, None).await.body;
        let number = |name: &str| {
            let line = numbers.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            let value = line.and_then(|value| value.trim().parse().ok());
            value.unwrap_or_else(|| panic!("no {name} among the metrics"))
        };
        let (tasks, sockets) = (number("duet_tasks"), number("duet_sockets"));
        Held { descriptors: descriptors(node), memory_kib: node.memory_kib(), tasks, sockets }
    }

    fn is_little(&self) -> bool {
        self.sockets == 0 && self.descriptors <= DESCRIPTORS && self.tasks <= TASKS && self.memory_kib <= MEMORY_KIB
    }
}

fn descriptors(node: &Node) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", node.pid())).expect("its files").count()
}

/// The lines of all segments so far.
#[derive(Debug)]
pub struct Summary {
    file: PathBuf,
    lines: Vec<Value>,
}

impl Summary {
    /// That of an earlier run in this directory, or a new one.
    pub fn open(folder: &Path) -> Summary {
        std::fs::create_dir_all(folder).expect("a directory for the summary");
        let file = folder.join("summary.jsonl");
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("a line of a summary")).collect();
        Summary { file, lines }
    }

    /// Adds a segment.
    pub fn add(&mut self, line: Value) {
        use std::io::Write;
        let file = std::fs::File::options().create(true).append(true).open(&self.file);
        writeln!(file.expect("open the summary"), "{line}").expect("write the summary");
        self.lines.push(line);
    }

    /// How many segments there were.
    pub fn segments(&self) -> usize {
        self.lines.len()
    }

    /// A figure of all segments together.
    pub fn sum(&self, figure: &str) -> u64 {
        self.lines.iter().map(|line| line[figure].as_u64().unwrap_or_default()).sum()
    }

    /// How often each kind counted, and its longest silence.
    pub fn kinds(&self) -> BTreeMap<String, (u64, u64)> {
        let mut kinds: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for (name, kind) in self.lines.iter().flat_map(|line| line["kinds"].as_object().into_iter().flatten()) {
            let (counted, silence) = kinds.entry(name.clone()).or_default();
            *counted += kind["counted"].as_u64().unwrap_or_default();
            *silence = (*silence).max(kind["silence_ms"].as_u64().unwrap_or_default());
        }
        kinds
    }

    /// Says all of it.
    pub fn tell(&self) {
        let (acknowledged, counted) = (self.sum("acknowledged"), self.sum("counted"));
        println!("{} segments, {acknowledged} acknowledged, {counted} faults counted", self.segments());
        for (kind, (counted, silence)) in self.kinds() {
            let rows = Fault::named(&kind).and_then(|fault| FAULTS.iter().find(|(one, _)| *one == fault));
            let rows = rows.map_or("", |(_, rows)| rows);
            println!("{kind:<22} {rows:<8} {counted:>4} times, longest silence {:.1} s", silence as f64 / 1000.0);
        }
    }
}
