-- Sessions: users who are logged in.

create table session (
    -- Never used again.
    id           integer primary key autoincrement,
    principal_id bigint not null references principal (id) on delete cascade,
    -- SHA-256 of its text: that is random and long, so a slow hash would add nothing.
    hash         blob not null unique,
    -- 'bearer': it comes in the header Authorization; 'cookie': in a cookie.
    kind         text not null,
    created_ms   bigint not null,
    -- Worth nothing from then on, whether it is used or not.
    expires_ms   bigint not null,
    -- To the minute.
    last_used_ms bigint not null,
    -- From where the user has logged in.
    client_ip    text not null
);

create index session_principal on session (principal_id);
