// SPDX-License-Identifier: LGPL-2.1-or-later
// graphile-worker, with the settings of its own page on performance: 24 jobs at once, a local queue of 500, completions
// in batches. Jobs have no queue name, because named queues run one job at a time.
'use strict';
const { Logger, run, runMigrations } = require('graphile-worker');
const peer = require('./peer.js');

const ADD = "SELECT graphile_worker.add_job('publish', $1::json)";
const ADD_MANY = `SELECT count(*) FROM graphile_worker.add_jobs(
    ARRAY(SELECT json_populate_recordset(NULL::graphile_worker.job_spec, $1::json)))`;
const preset = {
    worker: {
        connectionString: 'postgres:///',
        concurrentJobs: 24,
        maxPoolSize: 25,
        localQueue: { size: 500 },
        completeJobBatchDelay: 0,
        failJobBatchDelay: 0,
        logger: new Logger(() => () => {}),
    },
};

peer.run({
    setup: () => runMigrations({ preset, taskList: {}, noHandleSignals: true }),

    async enqueue(client, messages) {
        if (messages.length === 1)
            return client.query({ name: 'add', text: ADD, values: [JSON.stringify(messages[0])] });
        const specs = JSON.stringify(messages.map((payload) => ({ identifier: 'publish', payload })));
        return client.query({ name: 'add many', text: ADD_MANY, values: [specs] });
    },

    async drain(client, count) {
        let left = count, all;
        const taken = new Promise((resolve) => { all = resolve; });
        const publish = () => { if (--left === 0) all(); };
        const runner = await run({ preset, taskList: { publish }, crontab: '', noHandleSignals: true });

        await taken;
        await peer.none(client, 'SELECT 1 FROM graphile_worker.jobs LIMIT 1');
        this.runners = [...(this.runners ?? []), runner.stop()]; // its time to stop is not measured
    },
});
