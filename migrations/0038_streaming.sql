-- What the streaming workers tell of themselves.

create table streaming_worker (
    worker text primary key check (worker <> ''),
    seen_at timestamptz not null,
    report jsonb not null
);

-- The figures of each report that a curve is drawn of. Counters begin anew with the process.
create table streaming_figure (
    worker text not null,
    at timestamptz not null,
    records bigint not null,
    lag_records bigint not null,
    primary key (worker, at)
);

create index streaming_figure_at on streaming_figure (at);
