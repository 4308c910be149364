-- What wrk sends: GET for keys drawn evenly from a file; and what it says at the end, as one line of JSON.
-- wrk … URL -- KEYFILE PREFIX SUFFIX SEED

local requests, count = {}, 0

function init(args)
  math.randomseed(tonumber(args[4]))
  for key in io.lines(args[1]) do
    count = count + 1
    -- Made beforehand: formatting a request costs wrk more than sending it.
    requests[count] = wrk.format("GET", args[2] .. key .. args[3])
  end
end

function request()
  return requests[math.random(count)]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %.6f, "p50": %.6f, "p99": %.6f, "status": %d, "broken": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e6, latency:percentile(99) / 1e6,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
