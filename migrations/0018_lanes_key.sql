alter table run_node drop constraint run_node_pkey, add constraint run_node_pkey primary key using index run_node_lanes;
