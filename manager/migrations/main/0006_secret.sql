-- Secrets and configuration values of apps.

create table secret (
    app_id     bigint not null references app (id) on delete cascade,
    name       text not null,
    -- XChaCha20-Poly1305 of the value. App and name are authenticated with it, so that no row passes for another.
    ciphertext blob not null,
    -- 24 random bytes.
    nonce      blob not null,
    -- Which key it is encrypted with, of those that the key file may have held.
    key_id     text not null,
    created_ms bigint not null,
    updated_ms bigint not null,
    primary key (app_id, name)
);

create table config_value (
    app_id     bigint not null references app (id) on delete cascade,
    name       text not null,
    -- JSON, as it was written but for white space.
    value      text not null,
    created_ms bigint not null,
    updated_ms bigint not null,
    primary key (app_id, name)
);
