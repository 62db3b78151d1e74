-- SPDX-License-Identifier: LGPL-2.1-or-later
-- Enqueues with the command line of MariaDB:
--   mariadb --default-character-set=utf8mb4 --init-command="SET @key = '17', @note = 'paid'" DATABASE <enqueue-mariadb.sql
START TRANSACTION;
-- The application's own changes come here; both are there after the commit, or neither.
CALL outbox_enqueue('orders', JSON_OBJECT('order', @key, 'note', @note), @key, NULL, 'application/json',
                    NULL, NULL, NULL, NULL, NULL, NULL);
COMMIT;
