-- Triggers, which make events, and events, which become calls.

create table event_trigger (
    -- Never used again: an event remembers which trigger made it.
    id         integer primary key autoincrement,
    app_id     bigint not null references app (id) on delete cascade,
    name       text not null,
    -- 'kv', 'schedule', 'topic', 'queue' or 'webhook'.
    kind       text not null,
    -- The script that is called, by name: it may be uploaded later.
    script     text not null,
    -- JSON: what the kind needs to know.
    config     text not null,
    -- How often an event is tried at most.
    attempts   bigint not null,
    -- One that is not enabled makes no events.
    enabled    boolean not null,
    -- Counted from 1 with each change: with the id it is a tag that no other state of any trigger ever had.
    version    bigint not null,
    created_ms bigint not null,
    updated_ms bigint not null,
    -- When a schedule is due next; null when it never is, and for other kinds.
    next_ms    bigint,
    unique (app_id, name)
);

create index event_trigger_next on event_trigger (next_ms) where enabled and next_ms is not null;

create table event (
    -- The order in which events were stored.
    seq            integer primary key autoincrement,
    -- UUIDv7.
    id             blob not null unique,
    app_id         bigint not null references app (id) on delete cascade,
    -- Which made it; it may be gone.
    trigger_id     bigint,
    kind           text not null,
    script         text not null,
    -- 'queue/NAME' or 'script/NAME': events of one lane share a bound on how many run at the same time.
    lane           text not null,
    -- 'waiting', 'running' or 'dead'.
    state          text not null,
    -- Waiting: when it may run. Running: when the claim ends if whoever made it is gone. Dead: when it died.
    due_ms         bigint not null,
    -- How often it was tried.
    attempt        bigint not null,
    max_attempts   bigint not null,
    dedupe_key     text,
    -- Who caused it.
    root_id        blob not null,
    parent_id      blob,
    depth          bigint not null,
    -- Why the last attempt failed.
    failure_code   text,
    failure_text   text,
    failure_id     blob,
    -- What the script sees, in the words of CloudEvents.
    event_id       text not null,
    source         text not null,
    type           text not null,
    subject        text,
    time_ms        bigint not null,
    -- JSON. Last, so that the columns before it are read without going through it.
    data           text not null
);

-- The next of a lane, and which lanes there are.
create index event_lane on event (app_id, lane, due_ms, seq) where state = 'waiting';
-- The next for a script, whatever lanes they are in.
create index event_script on event (app_id, script, due_ms, seq) where state = 'waiting';
-- Few at any time; the only ones that a start has to look at.
create index event_running on event (app_id, lane) where state = 'running';
-- Dead letters, by when they died; the lane is for counting them.
create index event_dead on event (app_id, due_ms, seq, lane) where state = 'dead';
-- What is still to come of a chain of triggers.
create index event_root on event (root_id);
-- Whether a schedule still has something to do. No other kind of trigger is asked for, nor pays for the index.
create index event_schedule on event (trigger_id) where kind = 'schedule' and state <> 'dead';
create unique index event_dedupe on event (app_id, lane, dedupe_key) where dedupe_key is not null and state <> 'dead';
