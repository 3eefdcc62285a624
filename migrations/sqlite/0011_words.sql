-- The index takes the words that duet makes of a text as they are: `ascii` takes texts apart at spaces and signs of ASCII
-- alone, while `unicode61` also did so at vowel signs. What was indexed is made anew after the start, newest first.
DROP TABLE message_search;
CREATE VIRTUAL TABLE message_search USING fts5 (folded, conversation, content = '', contentless_delete = 1, tokenize = 'ascii');
