-- How much each app keeps, for its quotas: adding it up anew would cost more the more is kept.

create table app_usage (
    app_id   bigint primary key references app (id) on delete cascade,
    -- Keys and values, in bytes of both; those that have expired and are not deleted yet are among them.
    kv_bytes bigint not null default 0,
    -- Events, whatever their state.
    events   bigint not null default 0
);

insert into app_usage (app_id, kv_bytes, events)
select app.id,
       (select coalesce(sum(octet_length(key) + coalesce(octet_length(json), octet_length(blob), 0)), 0)
        from   kv
        where  kv.app_id = app.id),
       (select count(*) from event where event.app_id = app.id)
from   app;

create trigger app_added after insert on app
begin
    insert into app_usage (app_id) values (new.id);
end;

create trigger kv_added after insert on kv
begin
    update app_usage
    set    kv_bytes = kv_bytes + octet_length(new.key) + coalesce(octet_length(new.json), octet_length(new.blob), 0)
    where  app_id = new.app_id;
end;

-- Most changes of a counter leave its length as it is.
create trigger kv_changed after update of json, blob on kv
when coalesce(octet_length(new.json), octet_length(new.blob), 0)
     <> coalesce(octet_length(old.json), octet_length(old.blob), 0)
begin
    update app_usage
    set    kv_bytes = kv_bytes + coalesce(octet_length(new.json), octet_length(new.blob), 0)
                      - coalesce(octet_length(old.json), octet_length(old.blob), 0)
    where  app_id = new.app_id;
end;

create trigger kv_removed after delete on kv
begin
    update app_usage
    set    kv_bytes = kv_bytes - octet_length(old.key) - coalesce(octet_length(old.json), octet_length(old.blob), 0)
    where  app_id = old.app_id;
end;

create trigger event_added after insert on event
begin
    update app_usage set events = events + 1 where app_id = new.app_id;
end;

create trigger event_removed after delete on event
begin
    update app_usage set events = events - 1 where app_id = old.app_id;
end;
