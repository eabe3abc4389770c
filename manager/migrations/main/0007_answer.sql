-- Answers that are kept: those that callers fetch later, and those that a repeated request gets again.

create table answer (
    -- UUIDv7 of the execution. A call whose caller fetches the answer later has its event under the same id; when
    -- neither the answer nor the event is there, the event was taken back.
    id              blob primary key,
    app_id          bigint not null references app (id) on delete cascade,
    script          text not null,
    accepted_ms     bigint not null,
    -- SHA-256 of the key with which the caller fetches the answer. Null when the caller waited for it.
    access          blob,
    -- The key that came with the request, and what tells whether another one is the same. Null without a key.
    idempotency_key text,
    fingerprint     blob,
    salt            blob,
    -- What it counts of what the app may keep.
    bytes           bigint not null,
    -- Null until there is an answer.
    status          bigint,
    expires_ms      bigint,
    -- JSON: pairs of names and values.
    headers         text,
    body            blob
);

create unique index answer_idempotency on answer (app_id, script, idempotency_key) where idempotency_key is not null;
create index answer_expires on answer (expires_ms, id) where expires_ms is not null;
-- What was accepted and has no answer yet.
create index answer_expected on answer (app_id, accepted_ms) where status is null;
-- How much an app keeps, without going through the answers.
create index answer_bytes on answer (app_id, bytes, expires_ms);
-- Requests that wait or run; all that counting them asks for, so that it goes past no request.
create index event_http on event (app_id, state, kind) where kind = 'http' and state <> 'dead';
