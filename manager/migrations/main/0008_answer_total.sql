-- Callbacks that could not be sent go some time after they died, since nobody can send them when their answers are gone.
create index event_dead_callback on event (due_ms, seq) where kind = 'callback' and state = 'dead';

-- How much each app keeps: asked for with every request that has an idempotency key, so that adding it up anew would cost
-- more the more is kept.

create table answer_total (
    app_id bigint primary key references app (id) on delete cascade,
    -- All answers that are stored, also those that have expired and are not deleted yet.
    bytes  bigint not null
);

insert into answer_total (app_id, bytes)
select app_id, sum(bytes) from answer group by app_id;

create trigger answer_added after insert on answer
begin
    insert into answer_total (app_id, bytes) values (new.app_id, new.bytes)
    on conflict (app_id) do update set bytes = bytes + excluded.bytes;
end;

create trigger answer_changed after update of bytes on answer
begin
    update answer_total set bytes = bytes + new.bytes - old.bytes where app_id = new.app_id;
end;

create trigger answer_removed after delete on answer
begin
    update answer_total set bytes = bytes - old.bytes where app_id = old.app_id;
end;
