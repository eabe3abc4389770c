-- What is told about versions. A table of its own: behind the source, which comes last in the other one, it could not be
-- read without going through that.

create table version_note (
    version_id integer primary key references script_version (id) on delete cascade,
    -- What whoever uploaded it has said of it.
    message    text,
    -- The name of the principal that has uploaded it. Null in dev mode.
    author     text,
    -- Fuel that its smoke call took, if there was one.
    smoke_fuel bigint
);

-- The version that was active before, for going back to it.
alter table script add column previous_version_id bigint;
