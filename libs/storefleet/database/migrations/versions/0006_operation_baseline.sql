-- What the store answered right before an upgrade or a rollback; the runtime writes and reads it.
-- Services of the previous version neither write nor need it.
ALTER TABLE operations ADD COLUMN baseline jsonb
