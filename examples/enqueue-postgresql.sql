-- SPDX-License-Identifier: LGPL-2.1-or-later
-- Enqueues with psql: psql -v key="'17'" -v note="'paid'" -f enqueue-postgresql.sql
BEGIN;
-- The application's own changes come here; both are there after the commit, or neither.
SELECT outbox_enqueue('orders', jsonb_build_object('order', :key::text, 'note', :note::text), partition_key => :key);
COMMIT;
