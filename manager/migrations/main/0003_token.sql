-- Tokens for the REST API. Only hashes are stored.

create table token (
    id         integer primary key,
    name       text not null unique,
    -- SHA-256 of the token: it is random and long, so a slow hash would add nothing.
    hash       blob not null unique,
    created_ms bigint not null
);
