-- ARGV: candidate, length of the lease. Answer: holder, token, milliseconds until the lease ends.
local candidate, lease = ARGV[4], tonumber(ARGV[5])
local term = redis.call('HMGET', term_key, 'holder', 'token', 'until')
if term[1] and steady() < (integer(term[3]) or 0) then
  return { term[1], term[2], term[3] - steady() }
end
allow_oom()
-- The token is never below the server's time, so that a wiped store does not give a token twice.
local token = string.format('%.0f', math.max((integer(term[2]) or 0) + 1, steady()))
redis.call('HSET', term_key, 'holder', candidate, 'token', token, 'until', steady() + lease)
return { candidate, token, lease }
