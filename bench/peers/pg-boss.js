// SPDX-License-Identifier: LGPL-2.1-or-later
// pg-boss, by fetch() and complete() in batches of 1000 by four at once: work() waits at least half a second between
// batches. Its supervision, which archives and expires jobs, is off.
'use strict';
const PgBoss = require('pg-boss');
const peer = require('./peer.js');

const QUEUE = 'orders', BATCH = 1000, WORKERS = 4;
const boss = new PgBoss({ host: process.env.PGHOST, database: process.env.PGDATABASE, user: process.env.PGUSER,
                          max: WORKERS, supervise: false, schedule: false });

boss.on('error', (error) => { throw error; });
peer.run({
    async setup() {
        await boss.start();
        await boss.createQueue(QUEUE);
    },

    async enqueue(client, messages) {
        const db = { executeSql: (text, values) => client.query(text, values) };

        if (messages.length === 1)
            return boss.send(QUEUE, messages[0], { db });
        return boss.insert(messages.map((data) => ({ name: QUEUE, data })), { db });
    },

    async drain(client, count) {
        let left = count;
        const worker = async () => {
            for (let jobs; left > 0 && (jobs = await boss.fetch(QUEUE, { batchSize: BATCH })).length > 0;) {
                await boss.complete(QUEUE, jobs.map((job) => job.id));
                left -= jobs.length;
            }
        };

        await Promise.all(Array.from({ length: WORKERS }, worker));
        if (left !== 0)
            throw new Error(`${left} jobs are left`);
    },
});
