// Reads every pair of a data file through a Redis port, as a program in JavaScript would; prints what it found.
// node read_all.cjs PORT RESP FILE, with NODE_PATH naming the folder where @redis/client is installed.
const fs = require('node:fs');
const { createClient, RESP_TYPES } = require('@redis/client');

async function main([port, protocol, file]) {
  const pairs = fs.readFileSync(file, 'latin1').split('\n').filter(Boolean)
    .map((line) => [line.slice(0, 36), line.slice(37)]);
  const connected = await createClient({
    RESP: Number(protocol),
    socket: { host: '127.0.0.1', port: Number(port) },
    commandOptions: { timeout: 60_000 }, // all pairs are asked for in one turn, and the client's own 5 s count from then
  }).connect();
  const client = connected.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
  const text = (found) => (found === null ? null : found.toString('latin1'));

  // Promises that are made in one turn leave as one pipeline.
  const single = (await Promise.all(pairs.map(([key]) => client.get(key)))).map(text);
  const many = [];
  for (let start = 0; start < pairs.length; start += 500) {
    many.push(...(await client.mGet(pairs.slice(start, start + 500).map(([key]) => key))).map(text));
  }
  const missing = '00000000-0000-4000-8000-000000000000';
  const refused = await client.set(pairs[0][0], 'x').then(() => 'written', (error) => error.message);
  const told = {
    wrong: pairs.filter(([, value], place) => single[place] !== value || many[place] !== value).length,
    pairs: pairs.length,
    size: await client.dbSize(),
    exists: await client.exists([pairs[0][0], missing, pairs[1][0].toUpperCase()]),
    length: await client.strLen(pairs[0][0]) - Buffer.byteLength(pairs[0][1], 'latin1'),
    missing: await client.get(missing),
    pong: String(await client.ping()),
    refused,
  };
  await connected.close();
  console.log(JSON.stringify(told));
}

main(process.argv.slice(2));
