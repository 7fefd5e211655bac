-- no-transaction
-- The table stays open to everybody meanwhile.
create unique index concurrently if not exists run_node_lanes on run_node (run_key, node, lane);
