-- What keeps statements from reading more than they need.

-- Search walks the messages of a conversation by their ids, newest first.
CREATE INDEX messages_by_conversation ON messages (conversation_id, id);

-- Of a user who stands in many pairs: those with a block, with a match, and with a like that was not answered.
CREATE INDEX pairs_low_blocked ON pairs (low) WHERE low_blocked_at IS NOT NULL OR high_blocked_at IS NOT NULL;
CREATE INDEX pairs_high_blocked ON pairs (high) WHERE low_blocked_at IS NOT NULL OR high_blocked_at IS NOT NULL;
CREATE INDEX pairs_low_matched ON pairs (low, matched_at, id) WHERE matched_at IS NOT NULL AND match_ended_at IS NULL;
CREATE INDEX pairs_high_matched ON pairs (high, matched_at, id) WHERE matched_at IS NOT NULL AND match_ended_at IS NULL;
CREATE INDEX pairs_low_liked ON pairs (low)
    WHERE high_liked_at IS NOT NULL AND low_liked_at IS NULL AND low_passed_at IS NULL;
CREATE INDEX pairs_high_liked ON pairs (high)
    WHERE low_liked_at IS NOT NULL AND high_liked_at IS NULL AND high_passed_at IS NULL;

-- Search does not use it any more: it has no order, so that the newest messages with a common word were found only after
-- all the others.
DROP INDEX message_search_words;
