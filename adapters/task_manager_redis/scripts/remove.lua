-- Needs runs and tasks.
-- ARGV: tasks. Answer: those that existed. Their entries go, so every claim on them is lost.
local AT_ONCE = 1000

-- Some at a time: Lua's stack is small.
local function spread(arguments, call)
  for first = 1, #arguments, AT_ONCE do
    call(unpack(arguments, first, math.min(first + AT_ONCE - 1, #arguments)))
  end
end

local function forget_runs(task)
  local entries, members = { high = {}, low = {} }, {}
  for _, text in ipairs(redis.call('HVALS', root .. ':live:' .. task)) do
    local priority, id = string.match(text, '^q %S (%S+) (%S+)')
    if id then
      table.insert(entries[priority], id)
    end
  end
  for priority, ids in pairs(entries) do
    spread(ids, function(...)
      redis.call('XDEL', streams[priority], ...)
      redis.call('XACK', streams[priority], GROUP, ...)
    end)
  end
  for _, kind in ipairs({ 'retry', 'pause' }) do
    for _, run in ipairs(redis.call('HKEYS', root .. ':' .. kind .. ':' .. task)) do
      table.insert(members, task .. ' ' .. run)
    end
  end
  spread(members, function(...) redis.call('ZREM', waiting, ...) end)
end

local removed = {}
for i = 4, #ARGV do
  local task = ARGV[i]
  if exists(task) or redis.call('ZSCORE', catalogue, task) then
    forget_runs(task)
    for _, kind in ipairs({ 'live', 'retry', 'pause', 'held', 'line', 'history', 'skips', 'task' }) do
      redis.call('DEL', root .. ':' .. kind .. ':' .. task)
    end
    redis.call('SREM', root .. ':retired', task)
    redis.call('ZREM', agenda, task)
    redis.call('ZREM', catalogue, task)
    removed[#removed + 1] = task
  end
end
if #removed > 0 then
  next_version()
  ring()
end
return removed
