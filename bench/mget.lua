-- What wrk sends to measure batches: POST with so many keys at once; what it says at the end is what load.lua says.
-- wrk … URL -- KEYFILE PATH KEYS SEED

dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "load.lua")

local requests, count = {}, 0

function init(args)
  math.randomseed(tonumber(args[4]))
  local keys, size = {}, tonumber(args[3])
  for key in io.lines(args[1]) do
    keys[#keys + 1] = key
    if #keys == size then
      count = count + 1
      requests[count] = wrk.format("POST", args[2], nil, table.concat(keys, "\n") .. "\n")
      keys = {}
    end
  end
end

function request()
  return requests[math.random(count)]
end
