//! Likes, blocks and matches to what stands between two users, so that the rules of duet hold: a block ends the match
//! and both likes, and two likes are a match.

use super::journal::{Journal, Note};
use super::whole;
use crate::error::Result;
use crate::store::Tx;
use crate::store::django::PairRow;
use crate::store::imported::{self, NewPair};

/// Writes a page of pairs.
pub(super) async fn write(tx: &mut Tx, journal: &mut Journal, page: Vec<PairRow>) -> Result<()> {
    let pairs: Vec<NewPair> = page.iter().filter_map(|row| pair(journal, row)).collect();
    let count = whole(imported::pairs(tx, &pairs).await?, pairs.len())?;
    journal.wrote("pairs", count);
    Ok(())
}

/// None where the row means nothing.
fn pair(journal: &mut Journal, row: &PairRow) -> Option<NewPair> {
    if row.low == row.high {
        journal.note(Note::NotImportedSelf, row.low);
        return None;
    }
    let (Some(low_joined), Some(high_joined)) = (row.low_joined, row.high_joined) else {
        journal.note(Note::NotImportedPair, row.low);
        return None;
    };
    // The service kept no time of likes and blocks: it was not before both were there.
    let since = low_joined.max(high_joined).0;
    let at = |given: i64| (given != 0).then_some(since);
    // A pair has the id of its match; one without gets an id behind those of all matches.
    let id = row.match_id.unwrap_or_else(|| {
        journal.last_pair += 1;
        journal.last_pair
    });
    let matched_at = row.created_at.map(|created_at| created_at.0);
    let mut pair = NewPair {
        id,
        low: row.low,
        high: row.high,
        low_liked_at: at(row.low_likes),
        high_liked_at: at(row.high_likes),
        low_blocked_at: at(row.low_blocks),
        high_blocked_at: at(row.high_blocks),
        matched_at,
        match_ended_at: matched_at.filter(|_| row.is_active == 0),
    };
    settle(journal, &mut pair, since);
    journal.took("likes", row.low_likes + row.high_likes);
    journal.took("blocks", row.low_blocks + row.high_blocks);
    journal.took("matches", row.matches.min(1));
    (1..row.matches).for_each(|_| journal.note(Note::NotImportedMatch, id));
    Some(pair)
}

/// Makes what the rows say agree with itself.
fn settle(journal: &mut Journal, pair: &mut NewPair, since: i64) {
    let likes = i64::from(pair.low_liked_at.is_some()) + i64::from(pair.high_liked_at.is_some());
    let is_matched = pair.matched_at.is_some() && pair.match_ended_at.is_none();
    if pair.low_blocked_at.is_some() || pair.high_blocked_at.is_some() {
        if likes > 0 {
            journal.note(Note::BlockOverLike, pair.id);
            (pair.low_liked_at, pair.high_liked_at) = (None, None);
        }
        if is_matched {
            journal.note(Note::BlockOverMatch, pair.id);
            pair.match_ended_at = pair.matched_at;
        }
    } else if is_matched && likes < 2 {
        journal.note(Note::LikesAdded, pair.id);
        let liked_at = pair.matched_at;
        (pair.low_liked_at, pair.high_liked_at) = (pair.low_liked_at.or(liked_at), pair.high_liked_at.or(liked_at));
    } else if likes == 2 && pair.matched_at.is_none() {
        journal.note(Note::MatchMade, pair.id);
        pair.matched_at = Some(since);
    } else if likes == 2 && !is_matched {
        journal.note(Note::LikesEnded, pair.id);
        (pair.low_liked_at, pair.high_liked_at) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::django::Moment;
    use std::collections::BTreeMap;

    /// Likes and blocks of both, and whether there is a match that stands.
    fn came(likes: (i64, i64), blocks: (i64, i64), matched: Option<bool>) -> NewPair {
        let mut journal = Journal::begin(BTreeMap::new());
        let row = PairRow {
            low: 3,
            high: 5,
            low_likes: likes.0,
            high_likes: likes.1,
            low_blocks: blocks.0,
            high_blocks: blocks.1,
            match_id: matched.map(|_| 7),
            matches: i64::from(matched.is_some()),
            is_active: i64::from(matched == Some(true)),
            created_at: matched.map(|_| Moment(20)),
            low_joined: Some(Moment(10)),
            high_joined: Some(Moment(15)),
        };
        pair(&mut journal, &row).expect("a pair")
    }

    #[test]
    fn whatever_the_rows_say_the_rules_hold() {
        for bits in 0..48_i64 {
            let bit = |place: i64| bits >> place & 1;
            let matched = [None, Some(true), Some(false)][(bits >> 4) as usize];
            let pair = came((bit(0), bit(1)), (bit(2), bit(3)), matched);
            let (low, high) = (pair.low_liked_at.is_some(), pair.high_liked_at.is_some());
            let is_matched = pair.matched_at.is_some() && pair.match_ended_at.is_none();
            let blocked = (pair.low_blocked_at.is_some(), pair.high_blocked_at.is_some());
            assert_eq!(blocked, (bit(2) == 1, bit(3) == 1), "{pair:?}: blocks are as they were");
            assert_eq!(is_matched, low && high, "{pair:?}: two likes are a match");
            if blocked != (false, false) {
                assert!(!low && !high && !is_matched, "{pair:?}: a block ends both");
            } else if matched == Some(true) {
                assert!(is_matched, "{pair:?}: a match that stood stands");
            } else if bit(0) + bit(1) == 1 {
                assert_eq!((low, high), (bit(0) == 1, bit(1) == 1), "{pair:?}: a like alone stays");
            }
            assert_eq!(pair.id, if matched.is_some() { 7 } else { 1 });
        }
    }

    #[test]
    fn times_that_nobody_wrote_down_are_the_earliest_that_can_be() {
        let pair = came((1, 1), (0, 0), Some(true));
        assert_eq!((pair.low_liked_at, pair.matched_at, pair.match_ended_at), (Some(15), Some(20), None));
        assert_eq!(came((0, 0), (1, 0), Some(true)).match_ended_at, Some(20));
        assert_eq!(came((1, 1), (0, 0), None).matched_at, Some(15));
    }
}
