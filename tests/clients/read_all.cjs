// What programs in JavaScript do, with the client and the file that are named; prints what came of it.
// node read_all.cjs CLIENT PORT FILE [RESP], with NODE_PATH naming the folder where the packages are installed.
const fs = require('node:fs');

const MISSING = '00000000-0000-4000-8000-000000000000';

// Each gives the same few functions, whose values are buffers or null.
const CLIENTS = {
  async redis(port, RESP) {
    const { createClient, RESP_TYPES } = require('redis');
    const connected = await createClient({ RESP, socket: { port }, commandOptions: { timeout: 60_000 } }).connect();
    const client = connected.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
    return {
      get: (key) => client.get(key),
      mget: (keys) => client.mGet(keys),
      // The replies to EXEC come as text, whatever was said of types.
      multi: (keys) => keys.reduce((multi, key) => multi.get(key), client.multi()).exec(),
      pipeline: (keys) => keys.reduce((multi, key) => multi.get(key), client.multi()).execAsPipeline(),
      async keys() {
        const found = [];
        for await (const some of connected.scanIterator({ COUNT: 1000 })) found.push(...some);
        return found;
      },
      type: (key) => connected.type(key),
      size: () => client.dbSize(),
      set: (key) => client.set(key, 'x'),
      close: () => connected.close(),
    };
  },
  async ioredis(port) {
    const Redis = require('ioredis');
    const client = new Redis({ port });
    const values = (replies) => replies.map(([error, value]) => {
      if (error) throw error;
      return value;
    });
    return {
      get: (key) => client.getBuffer(key),
      mget: (keys) => client.mgetBuffer(keys),
      multi: async (keys) => values(await keys.reduce((multi, key) => multi.getBuffer(key), client.multi()).exec()),
      pipeline: async (keys) => values(
        await keys.reduce((pipeline, key) => pipeline.getBuffer(key), client.pipeline()).exec(),
      ),
      async keys() {
        const found = [];
        for await (const some of client.scanStream({ count: 1000 })) found.push(...some);
        return found;
      },
      type: (key) => client.type(key),
      size: () => client.dbsize(),
      set: (key) => client.set(key, 'x'),
      close: () => client.quit(),
    };
  },
};

async function main([name, port, file, protocol]) {
  const pairs = fs.readFileSync(file, 'latin1').split('\n').filter(Boolean)
    .map((line) => [line.slice(0, 36), line.slice(37)]);
  const sample = pairs.slice(0, 500).map(([key]) => key);
  const wrong = (values) => values.filter((value, place) => value.toString('latin1') !== pairs[place][1]).length;
  const text = (values) => values
    .filter((value, place) => String(value) !== String(Buffer.from(pairs[place][1], 'latin1'))).length;
  const client = await CLIENTS[name](Number(port), protocol && Number(protocol));

  // Promises that are made in one turn leave as one pipeline; one of ten thousand would outlast a busy machine's patience.
  const single = [];
  for (let start = 0; start < pairs.length; start += 1000) {
    single.push(...(await Promise.all(pairs.slice(start, start + 1000).map(([key]) => client.get(key)))));
  }
  const told = {
    single: [single.length, wrong(single)],
    many: wrong(await client.mget(sample)),
    pipeline: wrong(await client.pipeline(sample)),
    multi: text(await client.multi(sample)),
    keys: new Set([...await client.keys(), ...pairs.map(([key]) => key)]).size,
    type: String(await client.type(sample[0])),
    size: await client.size(),
    missing: await client.get(MISSING),
    refused: await client.set(sample[0]).then(() => 'written', (error) => error.message),
  };
  await client.close();
  console.log(JSON.stringify(told));
}

main(process.argv.slice(2));
