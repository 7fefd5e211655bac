-- What tries tell of themselves beside their logs: links, and the values that they work with.
create index task_log_told on task_log (instance_key, try_number, line)
    where logger in ('streamcommerce.link', 'streamcommerce.rendered');
