-- Users: principals of the kind 'user', who are known by a password.

create table user_password (
    principal_id integer primary key references principal (id) on delete cascade,
    -- A PHC string: Argon2id with its parameters and its salt.
    hash         text not null,
    changed_ms   bigint not null
);
