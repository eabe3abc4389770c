-- Records of executions. A file of its own: losing it loses no user data.

create table execution (
    -- UUIDv7, so the order of ids is the order of time. 32 hexadecimal digits would be twice as long.
    id             blob primary key,
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
    -- JSON: [{"at_ms", "level", "message"}], null when nothing was logged.
    log            text,
    log_dropped    bigint not null
) without rowid;

-- Costs and faults by minute, for metrics that outlive the records.
create table execution_minute (
    app_id         bigint not null,
    script         text not null,
    version        bigint not null,
    -- Minutes since the Unix epoch.
    minute         bigint not null,
    calls          bigint not null,
    fault_script   bigint not null,
    fault_limit    bigint not null,
    fault_platform bigint not null,
    -- HdrHistogram V2 serialisations.
    fuel           blob not null,
    memory_bytes   blob not null,
    duration_us    blob not null,
    primary key (app_id, script, minute, version)
) without rowid;
