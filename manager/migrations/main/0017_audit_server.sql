-- The entries of the audit log that are about no app: those of sessions are counted, which anybody can make.

create index audit_server on audit (seq) where app is null;
