-- Which of those who are to be told of something have been: the others are told again without them.
alter table notification add column told integer[] not null default '{}';
