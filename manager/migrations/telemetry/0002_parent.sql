-- The execution that made the event that an execution handled: what makes a tree of a chain of triggers.

-- Null for direct calls and for events from outside.
alter table execution add column parent_id blob;
