// SPDX-License-Identifier: LGPL-2.1-or-later
// What the programs of peers in JavaScript share. Each is started as `node PEER.js MESSAGES SINGLE HUNDRED`, says on
// its standard output "ready WORKLOAD", waits for a line, works, says "done WORKLOAD MESSAGES SECONDS", and waits for
// another.
'use strict';
const { createInterface } = require('node:readline');
const { Client } = require('pg');

const KEYS = 1000, PAYLOAD = 256, WARM = 1000, LOAD = 1000;

// As JSON it has PAYLOAD bytes: where no key goes beside a payload, it is in it.
function message(n) {
    const key = `key ${n % KEYS}`;

    return { key, data: 'x'.repeat(PAYLOAD - JSON.stringify({ key, data: '' }).length) };
}

function messages(from, count) {
    return Array.from({ length: count }, (_, i) => message(from + i));
}

// Polls until a query finds no row.
async function none(client, sql) {
    while ((await client.query(sql)).rowCount > 0)
        await new Promise((resolve) => setTimeout(resolve, 2));
}

async function slice(lines, workload, count, work) {
    console.log(`ready ${workload}`);
    await lines.next();
    const start = process.hrtime.bigint();
    await work();
    console.log(`done ${workload} ${count} ${Number(process.hrtime.bigint() - start) / 1e9}`);
    await lines.next();
}

async function transactions(client, peer, size, count) {
    for (let i = 0; i < count; i++) {
        await client.query('BEGIN');
        await peer.enqueue(client, messages(i * size, size));
        await client.query('COMMIT');
    }
}

// peer: `most` messages are in a workload at most. setup(client) makes tables. enqueue(client, messages) is into the
// connection's open transaction. drain(client, count) starts the consumer, connections included, and resolves when so
// many were taken and noted as such.
async function run(peer) {
    const most = peer.most ?? Infinity;
    const [wanted, single, hundreds] = process.argv.slice(2, 5).map(Number);
    const count = Math.min(wanted, most), hundred = Math.min(hundreds, most / 100);
    const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
    const client = new Client();

    await client.connect();
    await peer.setup(client);
    // Whoever runs for long has compiled code.
    await transactions(client, peer, LOAD, WARM / LOAD);
    await peer.drain(client, WARM);
    await transactions(client, peer, LOAD, count / LOAD);
    await slice(lines, 'drain', count, () => peer.drain(client, count));
    for (const [size, times] of [[1, single], [100, hundred]]) {
        await transactions(client, peer, size, Math.min(times, 20));
        await slice(lines, `enqueue-${size}`, size * times, () => transactions(client, peer, size, times));
    }
    process.exit(0);
}

exports.none = none;
exports.run = (peer) => run(peer).catch((error) => {
    console.error(error);
    process.exit(1);
});
