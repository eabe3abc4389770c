-- Routes: which requests an app takes beside those for its scripts; and who has to be there for a script.

create table route (
    -- Never used again: with the version it is a tag that no other state of any route ever had.
    id         integer primary key autoincrement,
    app_id     bigint not null references app (id) on delete cascade,
    name       text not null,
    -- JSON: host, methods, path, and what a request leads to.
    config     text not null,
    -- Counted from 1 with each change.
    version    bigint not null,
    created_ms bigint not null,
    updated_ms bigint not null,
    unique (app_id, name)
);

-- JSON: who has to be there for a request to be taken. Null: nobody.
alter table script add column access text;
