-- Needs tasks.
-- One page of what changed. ARGV: version the reader knows, score after which this page begins ('' for the first page),
-- size of a page. Answer: nil when nothing changed; else version, incarnation, score after which the next page begins,
-- definitions (task, text, version), and, with the last page only, all tasks and the retired ones.
local since, after, size = tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
if after == '' then
  local version = version_of_store()
  if since == version then
    return false
  end
  mend_indexes()
  -- A version that this store never gave out: it was wiped or set back, so the reader knows nothing.
  after = tostring(since > version and 0 or since)
end
local found = redis.call('ZRANGEBYSCORE', catalogue, '(' .. after, '+inf', 'WITHSCORES', 'LIMIT', 0, size)
local page, gone = {}, {}
for i = 1, #found, 2 do
  local stored = redis.call('HMGET', root .. ':task:' .. found[i], 'definition', 'version')
  if stored[1] and integer(stored[2]) then
    page[#page + 1] = { found[i], stored[1], stored[2] }
  else
    gone[#gone + 1] = found[i]
  end
end
if gone[1] then
  despite_full_memory()
  index(gone)
end
local version = version_of_store()
local incarnation = integer(redis.call('GET', root .. ':incarnation'))
if not incarnation and version > 0 then
  despite_full_memory()
  redis.call('SET', root .. ':incarnation', version)
  incarnation = version
end
local last = #found < 2 * size
return {
  version, incarnation or '0', found[#found] or after, page,
  last and redis.call('ZRANGE', catalogue, 0, -1), last and redis.call('SMEMBERS', root .. ':retired'),
}
