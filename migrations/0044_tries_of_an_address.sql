-- Whoever tries many names from one address waits, too: its tries are summed at each sign-in.
create index sign_in_failure_of_address on sign_in_failure (from_address);
