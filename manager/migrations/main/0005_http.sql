-- Which requests the scripts of an app may send to other servers.

-- JSON, in the form in which requests are compared with it. Null: none.
alter table app add column http_policy text;
