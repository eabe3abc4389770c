-- Keys and values.

create table kv (
    app_id     bigint not null references app (id) on delete cascade,
    key        text not null,
    -- 'json' or 'blob': which of the two columns below holds the value.
    kind       text not null,
    json       text,
    blob       blob,
    -- The number of the commit that wrote it.
    version    bigint not null,
    expires_ms bigint,
    primary key (app_id, key)
) without rowid;

create index kv_expires on kv (expires_ms) where expires_ms is not null;

-- The number of the newest commit. One row.
create table commit_number (
    id    integer primary key check (id = 1),
    value bigint not null
);

insert into commit_number (id, value) values (1, 0);
