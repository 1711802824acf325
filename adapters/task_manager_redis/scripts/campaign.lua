-- ARGV: candidate, lease. Answer: holder, token, milliseconds left.
local candidate, lease = ARGV[4], tonumber(ARGV[5])
local term = redis.call('HMGET', reign, 'holder', 'token', 'until')
if term[1] and steady() < (integer(term[3]) or 0) then
  return { term[1], term[2], term[3] - steady() }
end
despite_full_memory()
-- Not below the server's time, so that a wiped store never repeats a token.
local token = string.format('%.0f', math.max((integer(term[2]) or 0) + 1, steady()))
redis.call('HSET', reign, 'holder', candidate, 'token', token, 'until', steady() + lease)
return { candidate, token, lease }
