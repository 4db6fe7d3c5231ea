-- wrk as load: the same files as bench/load.py reads, every answer checked. Prints the same Tally.
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("*a")
  file:close()
  return text
end

function init(args)
  requests, at, wrong, why = {}, 0, 0, ""
  answer = read(args[1] .. "/answer.bin")
  while true do
    local text = read(string.format("%s/request-%03d.bin", args[1], #requests))
    if not text then break end
    requests[#requests + 1] = text
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function response(status, headers, body)
  if status ~= 200 or body ~= answer then
    wrong = wrong + 1
    if why == "" then why = string.format("status %d, %d bytes: %s", status, #body, body:sub(1, 200)) end
  end
end

function done(summary, latency)
  local wrong, why, errors = 0, "", summary.errors
  for _, thread in ipairs(threads) do
    wrong = wrong + thread:get("wrong")
    if why == "" then why = thread:get("why") end
  end
  local broken = errors.connect + errors.read + errors.write + errors.timeout
  if why == "" and broken > 0 then
    why = string.format("connections: %d refused, %d failed reading, %d writing, %d timed out",
      errors.connect, errors.read, errors.write, errors.timeout)
  end
  why = why:gsub("[%c\"\\]", " ")
  print(string.format(
    '{"requests":%d,"seconds":%f,"p50_ms":%f,"p99_ms":%f,"wrong":%d,"why":"%s"}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    wrong + broken, why))
end
