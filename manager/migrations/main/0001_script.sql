-- Apps, scripts and their immutable versions.

create table app (
    -- Never used again (which is what autoincrement means): records of executions outlive an app.
    id         integer primary key autoincrement,
    name       text not null unique,
    created_ms bigint not null
);

create table script (
    id                integer primary key,
    app_id            bigint not null references app (id) on delete cascade,
    name              text not null,
    -- The version that is called. Null only inside the transaction that creates the script.
    active_version_id bigint,
    created_ms        bigint not null,
    updated_ms        bigint not null,
    unique (app_id, name)
);

create table script_version (
    -- Never used again: a call may still hold the id of a version that is gone, and must not get another source.
    id               integer primary key autoincrement,
    script_id        bigint not null references script (id) on delete cascade,
    -- Counted from 1 for each script, never used again.
    number           bigint not null,
    -- SHA-256 of the source, lower-case hexadecimal.
    source_hash      text not null,
    handles_requests boolean not null,
    handles_events   boolean not null,
    -- Bytes of the image that are not zero.
    image_bytes      bigint not null,
    -- Fuel that loading it took.
    load_fuel        bigint not null,
    created_ms       bigint not null,
    -- Last, so that the columns before it are read without going through it.
    source           text not null,
    unique (script_id, number)
);
