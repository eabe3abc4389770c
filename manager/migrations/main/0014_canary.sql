-- Canaries: a version that some of the calls of a script go to, to see how it does. One a script: the last one.

create table canary (
    id                 integer primary key autoincrement,
    script_id          bigint not null unique references script (id) on delete cascade,
    version_id         bigint not null references script_version (id) on delete cascade,
    -- What it is compared with. Not a reference: it may not be kept as long.
    active_version_id  bigint not null,
    active_number      bigint not null,
    -- Of a hundred calls.
    percent            bigint not null,
    -- What it takes to go back, as the API describes it. Null: fuel is not looked at.
    min_calls          bigint not null,
    max_faults_percent double precision not null,
    max_fuel_percent   double precision,
    started_ms         bigint not null,
    -- Null: it runs.
    ended_ms           bigint,
    -- 'promoted', 'stopped' or 'rolled-back'.
    outcome            text,
    -- What was counted until then, as JSON. Null: nobody has written it down.
    result             text
);

create index canary_version on canary (version_id);
