-- no-transaction
-- Whether somebody still waits for an update that is old. The table stays open to everybody meanwhile.
create index concurrently if not exists asset_queue_by_event on asset_queue (event_id);
