-- What an app is told about itself, and apps that are being removed.

alter table app add column description text not null default '';
-- JSON: the limits that are narrower than the server's, and the quotas that are other ones. Null: none.
alter table app add column limits text;
alter table app add column quotas text;
-- When any of these last changed; null when they never did.
alter table app add column updated_ms bigint;
-- When it was deleted. Its name is free since then, and nobody can reach it; its rows are removed bit by bit.
alter table app add column deleted_ms bigint;
