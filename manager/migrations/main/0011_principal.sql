-- Principals: who may use the API and call scripts that ask for somebody; and what they have changed.

create table principal (
    -- Never used again: the audit log remembers it.
    id           integer primary key autoincrement,
    -- 'token'.
    kind         text not null,
    name         text not null,
    created_ms   bigint not null,
    -- Worth nothing from then on. Null: never.
    expires_ms   bigint,
    -- To the minute. Null: never.
    last_used_ms bigint,
    -- A token: how it begins, so that whoever has it can tell which one it is. Null for those from before there were
    -- scopes.
    token_prefix text,
    -- SHA-256 of the token: it is random and long, so a slow hash would add nothing.
    token_hash   blob unique,
    unique (kind, name)
);

create table scope (
    principal_id bigint not null references principal (id) on delete cascade,
    -- Null: every app.
    app_id       bigint references app (id) on delete cascade,
    -- 'read', 'invoke', 'deploy' or 'admin' of apps; 'server' for everything.
    permission   text not null
);

create index scope_principal on scope (principal_id);
create index scope_app on scope (app_id) where app_id is not null;

insert into principal (kind, name, created_ms, token_hash) select 'token', name, created_ms, hash from token;
insert into scope (principal_id, permission) select id, 'server' from principal;
drop table token;

create table audit (
    seq        integer primary key autoincrement,
    at_ms      bigint not null,
    -- 'token' and its name, or 'dev' with none.
    kind       text not null,
    name       text,
    -- From where the request came.
    client_ip  text,
    method     text not null,
    -- Without the query.
    path       text not null,
    -- The app in the path.
    app        text,
    request_id text,
    -- Of the answer. Null: the server ended before there was one, and what was asked for may have happened or not.
    status     bigint,
    -- The code of the problem, if it was one.
    code       text
);

create index audit_app on audit (app, seq) where app is not null;
