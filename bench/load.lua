-- What wrk sends: GET for keys drawn from a file; and what it says at the end, as one line of JSON.
-- wrk … URL -- KEYFILE PREFIX SUFFIX SEED DRAW
-- DRAW: `even`, each key as often as any other; `zipf`, by Zipf's law, the file's order being that of the ranks; `one`,
-- the first key alone.

local THETA = 0.99 -- the skew of YCSB's workloads

local requests, count, draw = {}, 0, nil

-- Source: Gray et al., "Quickly generating billion-record synthetic databases", SIGMOD 1994, as YCSB has it.
local function by_zipf()
  local zeta, random = 0, math.random
  for rank = 1, count do
    zeta = zeta + rank ^ -THETA
  end
  local second, alpha = 1 + 0.5 ^ THETA, 1 / (1 - THETA)
  local eta = (1 - (2 / count) ^ (1 - THETA)) / (1 - second / zeta)
  return function()
    local drawn = random()
    if drawn * zeta < 1 then
      return 1
    elseif drawn * zeta < second then
      return 2
    end
    return 1 + math.floor(count * (eta * drawn - eta + 1) ^ alpha)
  end
end

local DRAWS = {
  even = function() return function() return math.random(count) end end,
  one = function() return function() return 1 end end,
  zipf = by_zipf,
}

function init(args)
  math.randomseed(tonumber(args[4]))
  -- Made beforehand, and from one that is formatted: formatting a request costs wrk more than sending it.
  local whole = wrk.format("GET", args[2] .. "\0" .. args[3])
  local at = whole:find("\0", 1, true)
  local before, after = whole:sub(1, at - 1), whole:sub(at + 1)
  for key in io.lines(args[1]) do
    count = count + 1
    requests[count] = before .. key .. after
  end
  draw = DRAWS[args[5]]()
end

function request()
  return requests[draw()]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %.6f, "p50": %.6f, "p99": %.6f, "p999": %.6f, "status": %d, "broken": %d}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6, latency:percentile(99.9) / 1e6,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
