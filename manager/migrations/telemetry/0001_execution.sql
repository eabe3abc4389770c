-- Records of executions. A file of its own: losing it loses no user data.

create table execution (
    -- The order in which records were written, which is the order in which calls ended. Never used again, so that
    -- whoever follows the records misses none and sees none twice.
    seq            integer primary key autoincrement,
    -- UUIDv7, so the order of ids is the order in which calls started.
    id             blob not null,
    root_id        blob not null,
    trigger_depth  bigint not null,
    app_id         bigint not null,
    script         text not null,
    version        bigint not null,
    trigger_kind   text not null,
    started_ms     bigint not null,
    status         bigint not null,
    fault          text,
    code           text,
    message        text,
    error_line     bigint,
    error_column   bigint,
    fuel           bigint not null,
    memory_bytes   bigint not null,
    queue_us       bigint not null,
    sandbox_us     bigint not null,
    commit_us      bigint not null,
    reruns         bigint not null,
    method         text,
    path           text,
    request_id     text,
    log_dropped    bigint not null,
    -- The highest level among the log lines, 1 debug to 4 error; a fault counts as 4. Null when there is neither.
    log_level      bigint,
    -- JSON: [{"at_ms", "level", "message"}], null when nothing was logged. Last, so that lists need not read past it.
    log            text
);

create unique index execution_id on execution (app_id, id);
create index execution_script on execution (app_id, script, id);
-- The partial indexes cost an ordinary call nothing.
create index execution_fault on execution (app_id, id) where fault is not null;
create index execution_root on execution (app_id, root_id) where trigger_depth > 0;
create index execution_log on execution (app_id, seq) where log_level is not null;

-- Costs and faults by minute, for metrics that outlive the records.
create table execution_minute (
    id             integer primary key,
    app_id         bigint not null,
    script         text not null,
    version        bigint not null,
    -- Minutes since the Unix epoch.
    minute         bigint not null,
    calls          bigint not null,
    fault_script   bigint not null,
    fault_limit    bigint not null,
    fault_platform bigint not null,
    -- HdrHistogram V2 serialisations. They round to two digits; the sums and maxima beside them are exact.
    fuel           blob not null,
    fuel_sum       bigint not null,
    fuel_max       bigint not null,
    memory_bytes   blob not null,
    memory_sum     bigint not null,
    memory_max     bigint not null,
    duration_us    blob not null,
    duration_sum   bigint not null,
    duration_max   bigint not null
);

create unique index execution_minute_key on execution_minute (app_id, script, minute, version);
create index execution_minute_age on execution_minute (minute);
