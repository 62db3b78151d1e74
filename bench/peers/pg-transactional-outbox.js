// SPDX-License-Identifier: LGPL-2.1-or-later
// pg-transactional-outbox, with the listener that the last argument names: `replication` (a logical slot with pgoutput;
// the server needs wal_level = logical) or `polling`. 24 messages at once, in no order, without its two protections,
// which are off by default for an outbox.
'use strict';
const { randomUUID } = require('node:crypto');
const { setTimeout } = require('node:timers/promises');
const outbox = require('pg-transactional-outbox');
const peer = require('./peer.js');

const AT_ONCE = 24, BATCH = 100;
const replication = process.argv[5] === 'replication';
const logger = { ...outbox.getDisabledLogger(), error: (...what) => console.error(...what) };
const settings = {
    dbSchema: 'public',
    dbTable: 'outbox',
    enableMaxAttemptsProtection: false,
    enablePoisonousMessageProtection: false,
    messageCleanupIntervalInMs: 0,
    dbPublication: 'outbox_publication',
    dbReplicationSlot: 'outbox_slot',
    nextMessagesFunctionName: 'next_outbox_messages',
    nextMessagesBatchSize: BATCH,
    nextMessagesPollingIntervalInMs: 1,
};
const dbListenerConfig = { max: AT_ONCE };
const config = { outboxOrInbox: 'outbox', dbHandlerConfig: { max: AT_ONCE }, dbListenerConfig, settings };
const store = outbox.initializeMessageStorage(config, logger);

function listen(handler) {
    if (replication)
        return outbox.initializeReplicationMessageListener(config, handler, logger, {
            concurrencyStrategy: outbox.createReplicationSemaphoreConcurrencyController(AT_ONCE),
        });
    return outbox.initializePollingMessageListener(config, handler, logger, {
        // A query goes through all that is pending, and locks the oldest, so that its handler fails when it is in hand.
        async batchSizeStrategy(inHand) {
            if (inHand === 0)
                return BATCH;
            await setTimeout(1);
            return 0;
        },
    });
}

peer.run({
    most: 1000, // more take too long

    async setup(client) {
        const names = {
            outboxOrInbox: 'outbox', database: process.env.PGDATABASE, schema: 'public', table: 'outbox',
            listenerRole: process.env.PGUSER, publication: settings.dbPublication,
            replicationSlot: settings.dbReplicationSlot, nextMessagesName: settings.nextMessagesFunctionName,
        };
        const { DatabaseSetup: make } = outbox;
        const parts = replication ? [make.setupReplicationCore, make.setupReplicationSlot]
            : [make.createPollingFunction, make.setupPollingIndexes];

        for (const part of [make.dropAndCreateTable, make.grantPermissions, ...parts])
            await client.query(part(names));
    },

    // It takes one message a call.
    async enqueue(client, messages) {
        for (const payload of messages)
            await store({ id: randomUUID(), aggregateType: 'order', aggregateId: payload.key, messageType: 'orders',
                          concurrency: 'parallel', payload, metadata: {} }, client);
    },

    async drain(client, count) {
        let left = count, all, fail;
        const taken = new Promise((resolve, reject) => { all = resolve; fail = reject; });
        const [shutdown] = listen({
            handle: async () => { if (--left === 0) all(); },
            handleError: async (error, _message, _client, retry) => { if (!retry) fail(error); },
        });

        await taken;
        await peer.none(client, 'SELECT 1 FROM outbox WHERE processed_at IS NULL LIMIT 1');
        await shutdown();
    },
});
