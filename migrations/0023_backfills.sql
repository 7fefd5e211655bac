-- Runs for slots of the past that somebody asks for.

create table backfill (
    backfill_id         bigint generated always as identity primary key,
    dag_id              text not null references dag,
    from_date           timestamptz not null,
    to_date             timestamptz not null check (to_date >= from_date),
    conf                jsonb not null default '{}',
    reprocess_behavior  text not null check (reprocess_behavior in ('none', 'failed', 'completed')),
    max_active_runs     integer not null check (max_active_runs > 0),
    is_paused           boolean not null default false,
    created_at          timestamptz not null default now(),
    updated_at          timestamptz not null default now(),
    completed_at        timestamptz
);

create unique index backfill_active on backfill (dag_id) where completed_at is null;

alter table dag_run
    add column backfill_id bigint,
    -- Its place in the order of the backfill.
    add column backfill_ordinal integer;
