-- Users whom an OpenID provider knows: they have no password here.

alter table app_user alter column password_hash drop not null;
alter table app_user
    -- Who they are to their provider: its address and their subject, which never change.
    add column identity text unique;
