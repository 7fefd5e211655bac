-- no-transaction
-- Whether a DAG has an update of an asset. The table stays open to everybody meanwhile.
create index concurrently if not exists asset_queue_by_asset on asset_queue (dag_id, asset);
