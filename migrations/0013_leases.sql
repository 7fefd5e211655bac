-- How long a process may be unheard before it is lost: its own setting, known to everybody.
alter table process add column lease_secs double precision not null default 12;
