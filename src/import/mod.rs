//! Brings everything from a database of the Django service into an empty one of duet: the same ids, in duet's shapes.
//!
//! Part by part and page by page, each page in one transaction with the journal. The same source always comes to the
//! same database, however often the import was killed and begun again.

use std::time::{Duration, Instant};

pub mod files;
mod journal;
mod pairs;
mod people;
mod talk;

use journal::{Journal, Part};

use crate::error::{Error, Result};
use crate::model::Micros;
use crate::store::django::Source;
use crate::store::{Purpose, Store, Tx, imported, old_key};

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_secs(1);

type Answer<T> = std::result::Result<T, String>;

/// What an import does beside bringing rows.
#[derive(Debug)]
pub struct Plan {
    /// The key of the Django service, and until when its tokens are taken; none where they are not.
    pub old_key: Option<(crate::config::Secret, Micros)>,
    /// Longest message that duet takes today, in characters.
    pub text_max: usize,
}

/// An import at work.
struct Run<'a, P: Fn(String)> {
    source: &'a mut Source,
    target: &'a Store,
    plan: &'a Plan,
    journal: Journal,
    progress: P,
}

/// Imports whatever is not there yet. Answers the summary of all runs, this one and those before.
///
/// # Errors
/// A sentence that says what to do; what was written so far stays, and another run goes on from there.
pub async fn run(source: &mut Source, target: &Store, plan: &Plan, progress: impl Fn(String)) -> Answer<String> {
    let filled = source.filled().await?;
    let mut tx = target.begin(Purpose::Server).await.map_err(said)?;
    let journal = match Journal::read(&mut tx).await? {
        Some(journal) if journal.source != filled => {
            return Err(
                "the source is not as it was when this import began: stop the Django service, and import into \
                        an empty database"
                    .to_owned(),
            );
        }
        Some(journal) => journal,
        None => Journal::begin(filled),
    };
    journal.is_alone(&mut tx).await?;
    drop(tx);
    if journal.part == Part::Done {
        return Ok(format!("Everything had come before; nothing was changed.\n{}", journal.summary()));
    }
    let mut run = Run { source, target, plan, journal, progress };
    run.all().await?;
    Ok(format!("Everything came.\n{}", run.journal.summary()))
}

fn said(error: Error) -> String {
    error.to_string()
}

/// All rows of a page were written: one that stood in the way of another must not be lost without a word.
fn whole(written: u64, rows: usize) -> Result<u64> {
    match written == rows as u64 {
        true => Ok(written),
        false => Err(Error::internal(format!("{written} rows were written of {rows}: some are there already"))),
    }
}

/// Takes away what no database of duet can hold. Answers whether there was any.
fn without_zero_bytes(text: &mut String) -> bool {
    let any = text.contains('\0');
    if any {
        text.retain(|char| char != '\0');
    }
    any
}

/// Writes the pages of one part, each in a transaction of its own. `$place` tells the place of a row.
macro_rules! pages {
    ($run:ident, $part:path, $table:literal, $pages:ident($after:expr), $place:expr, $write:expr) => {
        if $run.journal.part == $part {
            let after = $after;
            let mut pages = $run.source.$pages(after);
            let mut speed = Speed::new($table, $run.journal.source.get($table).map_or(0, |filled| filled.rows));
            loop {
                let page = pages.next().await?;
                let (Some(last), rows) = (page.last().map($place), page.len()) else { break };
                let mut tx = $run.target.begin(Purpose::Server).await.map_err(said)?;
                $write(&mut tx, &mut $run.journal, page).await.map_err(said)?;
                $run.journal.after = last;
                keep(&$run.journal, tx).await?;
                speed.count(rows, &$run.progress);
            }
            drop(pages);
            speed.end(&$run.progress);
            $run.next().await?;
        }
    };
}

impl<P: Fn(String)> Run<'_, P> {
    async fn all(&mut self) -> Answer<()> {
        let run = self;
        pages!(run, Part::Users, "accounts_user", users(run.id()), |row| vec![row.id], people::users);
        pages!(
            run,
            Part::InterestNames,
            "matching_userinterest",
            interest_names(run.id()),
            |row| vec![row.id],
            people::interest_names
        );
        pages!(
            run,
            Part::Interests,
            "matching_userinterestrelation",
            interests(run.id()),
            |row| vec![row.id],
            people::interests
        );
        pages!(
            run,
            Part::Pairs,
            "accounts_user_liked_users",
            pairs((run.id(), run.journal.after.get(1).copied().unwrap_or(0))),
            |row| vec![row.low, row.high],
            pairs::write
        );
        pages!(
            run,
            Part::Conversations,
            "conversations_conversation",
            conversations(run.id()),
            |row| vec![row.id],
            talk::conversations
        );
        let long = run.plan.text_max;
        pages!(
            run,
            Part::Messages,
            "conversations_message",
            messages(run.journal.after.first().copied()),
            |row| vec![row.id],
            async |tx: &mut Tx, journal: &mut Journal, page| talk::messages(tx, journal, page, long).await
        );
        run.finish().await
    }

    /// The id behind which the part goes on.
    fn id(&self) -> i64 {
        self.journal.after.first().copied().unwrap_or(-1)
    }

    async fn next(&mut self) -> Answer<()> {
        self.journal.go_on(match self.journal.part {
            Part::Users => Part::InterestNames,
            Part::InterestNames => Part::Interests,
            Part::Interests => Part::Pairs,
            Part::Pairs => Part::Conversations,
            Part::Conversations => Part::Messages,
            Part::Messages => Part::Ids,
            Part::Ids | Part::Done => Part::Done,
        });
        keep(&self.journal, self.target.begin(Purpose::Server).await.map_err(said)?).await
    }

    /// New rows get ids behind all that the service ever gave, and the old key is kept.
    async fn finish(&mut self) -> Answer<()> {
        const IDS: [(&str, &str); 5] = [
            ("users", "accounts_user"),
            ("interest_names", "matching_userinterest"),
            ("pairs", "matching_match"),
            ("conversations", "conversations_conversation"),
            ("messages", "conversations_message"),
        ];
        let mut tx = self.target.begin(Purpose::Server).await.map_err(said)?;
        for (table, there) in IDS {
            let last = self.journal.source.get(there).map_or(0, |filled| filled.last_id);
            imported::continue_ids(&mut tx, table, last).await.map_err(said)?;
        }
        if let Some((key, until)) = &self.plan.old_key {
            old_key::keep(&mut tx, key.expose(), *until).await.map_err(said)?;
        }
        imported::analyze(&mut tx).await.map_err(said)?;
        self.journal.go_on(Part::Done);
        keep(&self.journal, tx).await
    }
}

/// Writes the journal down and commits.
async fn keep(journal: &Journal, mut tx: Tx) -> Answer<()> {
    journal.keep(&mut tx).await.map_err(said)?;
    tx.commit(|| ()).await.map_err(said)
}

/// How fast rows come, told now and then.
struct Speed {
    what: &'static str,
    of: i64,
    done: usize,
    begun: Instant,
    told: Instant,
}

impl Speed {
    fn new(what: &'static str, of: i64) -> Speed {
        let now = Instant::now();
        Speed { what, of, done: 0, begun: now, told: now }
    }

    fn count(&mut self, rows: usize, progress: impl Fn(String)) {
        self.done += rows;
        if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            progress(format!("{}: {} of {}, {} a second", self.what, self.done, self.of, self.rate()));
        }
    }

    fn end(&self, progress: impl Fn(String)) {
        progress(format!("{}: done, {} rows, {} a second", self.what, self.done, self.rate()));
    }

    fn rate(&self) -> u64 {
        (self.done as f64 / self.begun.elapsed().as_secs_f64().max(0.001)) as u64
    }
}
