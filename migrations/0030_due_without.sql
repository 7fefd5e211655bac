-- What the wider ones replace.
drop index task_instance_due, task_instance_due_of_run;
