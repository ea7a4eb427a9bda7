-- A name in a log is as long as whoever sent it wants, and a row whose name does not fit into an index is refused: a request
-- with a long user name was in no record and seen by no rule. No query uses this index (the view all_events asks for
-- coalesce(user_name, account)).
DROP INDEX blueteam.idx_collected_user_ts;
