-- One page of what changed. ARGV: version the reader knows, score after which this page begins ('' for the first page),
-- size of a page. Answer: nil when nothing changed; else version, incarnation, definitions (task, text, version, ...),
-- and, only with the last page, all tasks and the retired ones.
local since, after, size = tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local version = tonumber(redis.call('GET', root .. ':version')) or 0
local incarnation = redis.call('GET', root .. ':incarnation') or '0'
if after == '' then
  if since == version then
    return false
  end
  -- A version that this store never gave out: it was wiped or set back, so the reader knows nothing.
  after = since > version and 0 or since
end
local found = redis.call('ZRANGEBYSCORE', root .. ':catalogue', '(' .. after, '+inf', 'LIMIT', 0, size)
local page = {}
for _, task in ipairs(found) do
  local stored = redis.call('HMGET', root .. ':task:' .. task, 'definition', 'version')
  page[#page + 1] = task
  page[#page + 1] = stored[1]
  page[#page + 1] = stored[2]
end
if #found == size then
  return { version, incarnation, page }
end
local all, retired = redis.call('ZRANGE', root .. ':catalogue', 0, -1), redis.call('SMEMBERS', root .. ':retired')
return { version, incarnation, page, all, retired }
