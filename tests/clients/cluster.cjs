// A client of a Redis Cluster in JavaScript that reads all pairs again and again until its standard input ends.
// node cluster.cjs CLIENT HOST PORT FILE, with NODE_PATH naming the folder where the packages are installed.
const fs = require('node:fs');

const MISSING = '00000000-0000-4000-8000-000000000000';

// Each gives the same few functions, whose values are buffers or null.
const CLIENTS = {
  async redis(host, port) {
    const { createCluster, ErrorReply, RESP_TYPES } = require('redis');
    const cluster = createCluster({
      rootNodes: [{ socket: { host, port } }],
      // A node that is gone is looked for where its slots are now, before the connection is tried again.
      topologyRefreshOnReconnectionAttemptStrategy: 1,
    });
    cluster.on('error', () => {}); // it goes on by itself
    await cluster.connect();
    const client = cluster.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
    // What is under way on a connection that is lost fails, until the client has let go of it: a read may be sent again.
    const again = async (ask) => {
      for (let left = 50; ; left -= 1) {
        try {
          return await ask();
        } catch (error) {
          if (!left || error instanceof ErrorReply) throw error;
          await new Promise((done) => setTimeout(done, 100));
        }
      }
    };
    return {
      get: (key) => again(() => client.get(key)),
      mget: (key) => again(() => client.mGet([key, key])),
      set: (key) => client.set(key, 'x'),
      close: () => cluster.destroy(),
    };
  },
  async ioredis(host, port) {
    const { Cluster } = require('ioredis');
    const client = new Cluster([{ host, port }]);
    return {
      get: (key) => client.getBuffer(key),
      mget: (key) => client.mgetBuffer(key, key),
      set: (key) => client.set(key, 'x'),
      close: () => client.disconnect(),
    };
  },
};

async function main([name, host, port, file]) {
  const pairs = fs.readFileSync(file, 'latin1').split('\n').filter(Boolean)
    .map((line) => [line.slice(0, 36), line.slice(37)]);
  const client = await CLIENTS[name](host, Number(port));
  const told = { single: 0, many: 0, upper: 0, wrong: 0, failed: [] };
  const right = (value, wanted) => value !== null && value.toString('latin1') === wanted;
  let on = true;
  process.stdin.on('end', () => { on = false; }).resume();

  async function read(key, wanted) {
    try {
      if (!right(await client.get(key), wanted)) told.wrong += 1;
      told.single += 1;
    } catch (error) {
      told.failed.push(`${error.name}: ${error.message}`);
    }
  }

  console.log('reading');
  for (let start = 0; on || told.single + told.failed.length < pairs.length; start = (start + 200) % pairs.length) {
    await Promise.all(pairs.slice(start, start + 200).map(([key, wanted]) => read(key, wanted)));
  }
  for (const [key, wanted] of pairs.slice(0, 300)) {
    told.many += (await client.mget(key)).filter((value) => right(value, wanted)).length;
  }
  for (const [key, wanted] of pairs.slice(0, 300)) {
    told.upper += right(await client.get(key.toUpperCase()).catch(() => null), wanted);
  }
  told.failed = told.failed.slice(0, 5);
  told.missing = await client.get(MISSING);
  told.refused = await client.set(pairs[0][0]).then(() => 'written', (error) => error.message);
  await client.close();
  console.log(JSON.stringify(told));
}

main(process.argv.slice(2));
